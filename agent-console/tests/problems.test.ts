import assert from "node:assert/strict";
import test from "node:test";
import { CodecMissing, Taken } from "../src/call.ts";
import { JanusError } from "../src/janus.ts";
import { problemOf } from "../src/problems.ts";

const NOW = Date.UTC(2026, 5, 1);
const VALID = `${NOW / 1000 + 60},janus,janus.plugin.videoroom:x=`;
const access = { server: "wss://janus.bank.example:8989/", name: "Kim", token: VALID, roomToken: undefined };
const words = (error: unknown, with_ = access) => {
  const { title, remedy } = problemOf(error, with_, NOW);
  return `${title} | ${remedy}`;
};

test("each failure has its own title, and a remedy that names the thing", () => {
  const silence = words(new JanusError(0, "no connection"));
  assert.match(silence, /can’t be reached.*wss:\/\/janus\.bank\.example.*certificate/);
  assert.match(words(new JanusError(403, "Unauthorized")), /refused your access key.*copied completely/);
  assert.match(words(new JanusError(433, "wrong token")), /PIN isn’t valid for this kiosk.*needs an access key/);
  assert.match(words(new JanusError(432, "full")), /Another agent/);
  assert.match(words(new Taken(false)), /Another agent/);
  assert.match(words(new JanusError(426, "No such room")), /no longer exists/);
  assert.match(words(new JanusError(499, "odd")), /Janus 499, odd/);
  assert.match(words(new CodecMissing("video")), /H\.264/);
  assert.match(words(new DOMException("", "NotAllowedError")), /blocked.*Allow both/);
  assert.match(words(new DOMException("", "NotFoundError")), /No camera.*Plug in/);
  assert.match(words(new DOMException("", "NotReadableError")), /in use.*Close other/);
  assert.match(words(new TypeError("odd")), /unexpected.*odd/);
});

test("an expired key is said to be expired, and since when", () => {
  const token = "1577880000,janus,janus.plugin.videoroom:x=";
  assert.match(words(new JanusError(403, "Unauthorized"), { ...access, token }), /expired on 1 January 2020/);
});
