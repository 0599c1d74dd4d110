import assert from "node:assert/strict";
import test from "node:test";
import { Backoff } from "../src/backoff.ts";
import { endedFeed, feeds, OtherSide, participants, rooms } from "../src/room.ts";
import { waitingIn } from "../src/roster.ts";

const ROOM = { id: 1001, description: "Branch 12", participants: 1, pinRequired: false };
const KIOSK = { id: 7, display: "kiosk/demo-1", publishes: true };
const AGENT = { id: 8, display: "agent/Kim", publishes: true };

test("answers of the server are read, and what is not understood is left out", () => {
  assert.deepEqual(
    rooms({ list: [{ room: 1001, description: "Branch 12", num_participants: 1 }, { room: "x" }, null, 3] }), [ROOM]);
  assert.equal(rooms({ list: [{ room: 1, pin_required: true }] })[0]?.pinRequired, true);
  assert.deepEqual(rooms({}), []);
  assert.deepEqual(
    participants({ participants: [{ id: 7, display: "kiosk/demo-1", publisher: true }, { id: 9 }, { display: "x" }] }),
    [KIOSK, { id: 9, display: "", publishes: false }]);
  assert.deepEqual(feeds({ publishers: [{ id: 7, display: "kiosk/demo-1", streams: [] }, { id: 8 }] }),
    [{ id: 7, display: "kiosk/demo-1" }]);
  assert.deepEqual(feeds({ publishers: "none" }), []);
});

test("a feed ends by unpublishing, leaving or being put out; one's own end is no other's", () => {
  assert.equal(endedFeed({ unpublished: 7 }), 7);
  assert.equal(endedFeed({ leaving: 7 }), 7);
  assert.equal(endedFeed({ kicked: 7 }), 7);
  assert.equal(endedFeed({ unpublished: "ok" }), undefined);
  assert.equal(endedFeed({ configured: "ok" }), undefined);
});

test("what the room told last decides who is subscribed to", () => {
  const other = new OtherSide("kiosk/");
  other.present([]);
  // The kiosk appears while this side is still publishing: the empty room of its own joining is no news any more.
  assert.ok(other.event({ publishers: [{ id: 7, display: "kiosk/demo-1" }] }));
  assert.equal(other.feed?.id, 7);
  assert.ok(!other.event({ publishers: [{ id: 8, display: "agent/kim" }] }));
  assert.ok(!other.event({ leaving: 8 }) && !other.event({ configured: "ok" }));
  assert.equal(other.feed?.id, 7);
  const before = other.feed;
  assert.ok(other.event({ publishers: [{ id: 7, display: "kiosk/demo-1" }] }));
  assert.notEqual(other.feed, before);
  assert.ok(other.event({ unpublished: 7 }));
  assert.equal(other.feed, undefined);
});

test("a customer waits where a kiosk publishes and no agent is", () => {
  const expected = { room: 1001, site: "Branch 12", kiosk: "demo-1", since: 500, pinRequired: false };
  assert.deepEqual(waitingIn(ROOM, [KIOSK], [], 500), expected);
  assert.deepEqual(waitingIn(ROOM, [KIOSK], [expected], 9_000), expected);
  assert.equal(waitingIn(ROOM, [KIOSK, AGENT], [], 500), undefined);
  assert.deepEqual(waitingIn(ROOM, [KIOSK, { ...AGENT, publishes: false }], [], 500), expected);
  assert.equal(waitingIn(ROOM, [{ ...KIOSK, publishes: false }], [], 500), undefined);
  assert.equal(waitingIn(ROOM, [{ ...KIOSK, display: "demo-1" }], [], 500), undefined);
});

test("another kiosk in the same room waits anew", () => {
  const before = { room: 1001, site: "Branch 12", kiosk: "demo-0", since: 1, pinRequired: false };
  assert.equal(waitingIn(ROOM, [KIOSK], [before], 500)?.since, 500);
});

test("back-off doubles to its limit and jitters fully", () => {
  const backoff = new Backoff(500, 8_000);
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7].map(() => backoff.next(1)), [500, 1000, 2000, 4000, 8000, 8000, 8000]);
  assert.equal(backoff.next(0), 0);
  assert.equal(new Backoff(500, 8_000).next(0.5), 250);
});
