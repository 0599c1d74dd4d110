import assert from "node:assert/strict";
import test from "node:test";
import {
  displayName, isReadableOnTheWay, readFragment, serverUrl, splitAccessKey, tokenExpiry,
} from "../src/access.ts";

const API = "1900000000,janus,janus.plugin.videoroom:qk0/x+Y=";
const ROOM = "1900000000,janus.plugin.videoroom,room=1001:Zm9v+/8=";

test("an access key holds one or both tokens, in any order", () => {
  assert.deepEqual(splitAccessKey(`${API} ${ROOM}`), { token: API, roomToken: ROOM });
  assert.deepEqual(splitAccessKey(`\n${ROOM}\t${API} `), { token: API, roomToken: ROOM });
  assert.deepEqual(splitAccessKey(API), { token: API, roomToken: undefined });
  assert.deepEqual(splitAccessKey(ROOM), { token: undefined, roomToken: ROOM });
  assert.deepEqual(splitAccessKey("stored-token"), { token: "stored-token", roomToken: undefined });
  assert.deepEqual(splitAccessKey("one two"), { token: "one", roomToken: "two" });
  assert.deepEqual(splitAccessKey("  "), { token: undefined, roomToken: undefined });
});

test("a signed token tells when it ends", () => {
  assert.equal(tokenExpiry(API), 1_900_000_000_000);
  assert.equal(tokenExpiry("stored-token"), undefined);
  assert.equal(tokenExpiry(undefined), undefined);
});

test("a link's fragment keeps base64 whole, escaped or not", () => {
  const expected = { server: "wss://janus.bank.example:8989/", name: "Kim Ji-woo", key: `${API} ${ROOM}` };
  const set = { server: expected.server, name: expected.name, token: API, room_token: ROOM };
  const escaped = Object.entries(set).map(([k, v]) => `${k}=${encodeURIComponent(v)}`).join("&");
  assert.deepEqual(readFragment(`#${escaped}`), expected);
  const raw = Object.entries(set).map(([k, v]) => `${k}=${v}`).join("&");
  assert.deepEqual(readFragment(`#${raw}`), expected);
  const bare = { server: "ws://127.0.0.1:8188", name: "", key: "" };
  assert.deepEqual(readFragment("#server=ws://127.0.0.1:8188&token="), bare);
});

test("a server is a WebSocket address; encryption is what is assumed", () => {
  assert.equal(serverUrl("janus.bank.example:8989")?.href, "wss://janus.bank.example:8989/");
  assert.equal(serverUrl(" ws://127.0.0.1:8188 ")?.href, "ws://127.0.0.1:8188/");
  for (const bad of ["", "https://janus.bank.example", "wss://", "wss://user:pw@host/", "javascript:alert(1)", "a b"]) {
    assert.equal(serverUrl(bad), undefined, bad);
  }
});

test("only this computer may be spoken to in the clear without a warning", () => {
  const readable = (text: string) => isReadableOnTheWay(new URL(text));
  for (const calm of ["wss://10.0.0.1", "ws://127.0.0.1:8188", "ws://localhost", "ws://[::1]:8188"]) {
    assert.equal(readable(calm), false, calm);
  }
  for (const warned of ["ws://10.0.0.1", "ws://127.0.0.1.evil.example", "ws://localhost.example"]) {
    assert.equal(readable(warned), true, warned);
  }
});

test("a display name keeps its role apart from the name", () => {
  assert.equal(displayName("agent", "  Kim \n Ji-woo "), "agent/Kim Ji-woo");
  assert.equal(displayName("agent", "kiosk/x"), "agent/kiosk x");
  assert.equal(displayName("agent", "x".repeat(99)).length, 66);
});
