import assert from "node:assert/strict";
import test from "node:test";
import { isLiteralAddress, mayPass, parseCandidate, tcpOnlySdp } from "../src/tcp_only.ts";

const UDP = "candidate:1 1 udp 2130706431 192.0.2.1 51000 typ host generation 0";
const ACTIVE = "candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 network-id 1";
const PASSIVE = "candidate:3 1 tcp 1518149375 192.0.2.1 40007 typ host tcptype passive";
const RELAY_UDP = "candidate:4 1 UDP 41885439 192.0.2.9 50000 typ relay raddr 192.0.2.1 rport 51000";

test("a candidate is read field by field, in either form", () => {
  const expected = { protocol: "tcp", address: "192.0.2.1", port: 40007, type: "host", tcptype: "passive" };
  assert.deepEqual(parseCandidate(PASSIVE), expected);
  assert.deepEqual(parseCandidate(`a=${PASSIVE}`), expected);
  assert.equal(parseCandidate("candidate:1 1 tcp 1 192.0.2.1 70000 typ host"), undefined);
  assert.equal(parseCandidate("candidate:1 1 tcp 1 192.0.2.1 x typ host"), undefined);
  assert.equal(parseCandidate("a=mid:0"), undefined);
  assert.equal(parseCandidate(""), undefined);
});

test("out goes what dials, and nothing else", () => {
  assert.equal(mayPass(ACTIVE, "outgoing"), true);
  for (const line of [UDP, PASSIVE, RELAY_UDP, "candidate:5 1 tcp 1 192.0.2.1 9 typ host tcptype so", "", "junk"]) {
    assert.equal(mayPass(line, "outgoing"), false, line);
  }
});

test("in comes what can be dialled at a literal address, and nothing else", () => {
  assert.equal(mayPass(PASSIVE, "incoming"), true);
  assert.equal(mayPass(PASSIVE.replace("192.0.2.1", "2001:db8::7"), "incoming"), true);
  const refused = [
    UDP,
    ACTIVE,
    RELAY_UDP,
    PASSIVE.replace("192.0.2.1", "a3c0.local"),
    PASSIVE.replace("192.0.2.1", "media.bank.example"),
    PASSIVE.replace("40007", "0"),
    PASSIVE.replace(" tcptype passive", ""),
    PASSIVE.replace("candidate:3 1 tcp", "candidate:3 1 udp"),
  ];
  for (const line of refused) assert.equal(mayPass(line, "incoming"), false, line);
});

test("the word tcptype counts only where the grammar has it", () => {
  assert.equal(mayPass("candidate:1 1 tcp 1 192.0.2.1 9 typ host ufrag tcptype active x", "outgoing"), false);
  assert.equal(mayPass(PASSIVE.replace("tcptype", "generation 0 tcptype"), "incoming"), true);
});

test("an SDP keeps every line but the candidates that may not pass", () => {
  const lines = (...candidates: string[]) =>
    ["v=0", "m=video 9 UDP/TLS/RTP/SAVPF 96", ...candidates.map((c) => `a=${c}`), "a=end-of-candidates", ""]
      .join("\r\n");
  const all = lines(UDP, ACTIVE, PASSIVE, RELAY_UDP);
  assert.equal(tcpOnlySdp(all, "outgoing"), lines(ACTIVE));
  assert.equal(tcpOnlySdp(all, "incoming"), lines(PASSIVE));
  assert.equal(tcpOnlySdp(all.replaceAll("\r\n", "\n"), "incoming"), lines(PASSIVE));
  assert.equal(tcpOnlySdp(lines(UDP.toUpperCase()), "incoming"), lines());
});

test("literal addresses", () => {
  for (const good of ["192.0.2.1", "::1", "fe80::1", "2001:db8::7", "::ffff:192.0.2.1"]) {
    assert.equal(isLiteralAddress(good), true, good);
  }
  for (const bad of ["", "192.0.2.256", "192.0.2", "host:80", "fe80::1%eth0", "x.local", "1.2.3.4.5"]) {
    assert.equal(isLiteralAddress(bad), false, bad);
  }
});
