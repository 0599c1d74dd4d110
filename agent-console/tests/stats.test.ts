import assert from "node:assert/strict";
import test from "node:test";
import { kilobits, summarize, verdict, type LegFigures } from "../src/stats.ts";

type Change = { protocol?: string; tcpType?: string | undefined };

/** Statistics of a leg as Chromium reports them, with one end changed. */
function leg(local: Change = {}, remote: Change = {}): LegFigures {
  const end = { protocol: "tcp", candidateType: "host" };
  return summarize(
    [
      { id: "T", type: "transport", selectedCandidatePairId: "P" },
      { id: "P", type: "candidate-pair", localCandidateId: "L", remoteCandidateId: "R", currentRoundTripTime: 0.0124 },
      { id: "Q", type: "candidate-pair", localCandidateId: "X", remoteCandidateId: "R" },
      { id: "L", type: "local-candidate", ...end, tcpType: "active", address: "192.0.2.1", port: 51000, ...local },
      { id: "R", type: "remote-candidate", ...end, tcpType: "passive", address: "192.0.2.9", port: 40007, ...remote },
      { id: "X", type: "local-candidate", protocol: "udp", address: "192.0.2.1", port: 50000 },
      { id: "C", type: "codec", mimeType: "video/H264" },
      { id: "V", type: "inbound-rtp", kind: "video", codecId: "C", frameWidth: 1280, frameHeight: 720,
        framesPerSecond: 30, framesDecoded: 90, bytesReceived: 375_000 },
      { id: "A", type: "inbound-rtp", kind: "audio", bytesReceived: 15_000 },
    ],
    3_000,
  );
}

test("the figures of a leg come from its selected pair and its streams", () => {
  assert.deepEqual(leg(), {
    local: { protocol: "tcp", tcptype: "active", address: "192.0.2.1", port: 51000, type: "host" },
    remote: { protocol: "tcp", tcptype: "passive", address: "192.0.2.9", port: 40007, type: "host" },
    roundTripMs: 12, width: 1280, height: 720, framesPerSecond: 30, frames: 90, codec: "H264",
    videoBytes: 375_000, audioBytes: 15_000, at: 3_000,
  });
});

test("a leg without a pair has no ends", () => {
  const empty = summarize([{ id: "T", type: "transport" }], 0);
  assert.equal(empty.local, undefined);
  assert.equal(empty.remote, undefined);
  assert.equal(empty.frames, 0);
});

test("only TCP at both ends of both legs is called TCP only", () => {
  assert.equal(verdict([leg(), leg()]), "tcp");
  assert.equal(verdict([leg({ tcpType: undefined }), leg()]), "tcp");
  const wrong = [leg({ protocol: "udp" }), leg({}, { protocol: "udp" }), leg({}, { tcpType: "active" }),
    leg({}, { tcpType: undefined })];
  for (const bad of wrong) {
    assert.equal(verdict([leg(), bad]), "violated");
    assert.equal(verdict([bad, undefined]), "violated");
  }
});

test("a leg that isn't there is not vouched for", () => {
  assert.equal(verdict([leg(), undefined]), "connecting");
  assert.equal(verdict([undefined, undefined]), "connecting");
  assert.equal(verdict([leg(), summarize([], 0)]), "connecting");
});

test("the bitrate is what came between two readings", () => {
  const now = { ...leg(), at: 4_000, videoBytes: 490_000, audioBytes: 25_000 };
  assert.equal(kilobits(now, leg()), 1000);
  assert.equal(kilobits(now, undefined), undefined);
  assert.equal(kilobits(leg(), now), undefined);
  assert.equal(kilobits({ ...now, videoBytes: 0 }, leg()), undefined);
});
