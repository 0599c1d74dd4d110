/**
 * The TCP-only rule of the agent's side, as pure functions over SDP and trickled candidates.
 *
 * Out: only `tcptype active`, because the console dials and never listens.
 * In: only TCP `tcptype passive` at a literal address; a name would be resolved outside of this rule.
 * (Candidate grammar: RFC 8839 section 5.1; tcptype: RFC 6544 section 4.5.)
 */

/** "outgoing" is what this page signals to the server, "incoming" is what the server signals to it. */
export type Direction = "outgoing" | "incoming";

declare const checked: unique symbol;
/** An SDP whose candidates passed the rule: the only kind that a `Leg` hands to a peer connection or to the server. */
export type TcpOnlySdp = string & { readonly [checked]: true };

export interface Candidate {
  readonly protocol: string;
  readonly address: string;
  readonly port: number;
  readonly type: string;
  readonly tcptype: string | undefined;
}

/** Reads `candidate:...`, with or without the leading `a=`; undefined if it isn't a candidate. */
export function parseCandidate(line: string): Candidate | undefined {
  const words = line.trim().replace(/^a=/, "").split(/\s+/);
  const [foundation, , protocol, , address, portText, typ, type] = words;
  if (!foundation?.startsWith("candidate:") || typ !== "typ") return undefined;
  if (protocol === undefined || address === undefined || type === undefined) return undefined;
  if (portText === undefined || !/^\d{1,5}$/.test(portText)) return undefined;
  const port = Number(portText);
  if (port > 65535) return undefined;
  let tcptype: string | undefined;
  for (let i = 8; i + 1 < words.length; i += 2) {
    if (words[i] === "tcptype") tcptype = words[i + 1];
  }
  return { protocol: protocol.toLowerCase(), address, port, type, tcptype };
}

/** Whether a candidate may pass; what can't be read may not. */
export function mayPass(line: string, direction: Direction): boolean {
  const candidate = parseCandidate(line);
  if (candidate?.protocol !== "tcp") return false;
  if (direction === "outgoing") return candidate.tcptype === "active";
  return candidate.tcptype === "passive" && candidate.port > 0 && isLiteralAddress(candidate.address);
}

/** The SDP without the candidates that may not pass; every other line stays as it is. */
export function tcpOnlySdp(sdp: string, direction: Direction): TcpOnlySdp {
  const kept = sdp
    .split(/\r\n|\r|\n/)
    .filter((line) => line !== "" && (!/^a=candidate:/i.test(line) || mayPass(line, direction)));
  return (kept.join("\r\n") + "\r\n") as TcpOnlySdp;
}

/** IPv4 in dotted form, or IPv6 in hexadecimal groups (a zone or a name is refused). */
export function isLiteralAddress(address: string): boolean {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) {
    return address.split(".").every((part) => Number(part) <= 255);
  }
  return address.includes(":") && /^[0-9a-fA-F:]+(\d{1,3}(\.\d{1,3}){3})?$/.test(address);
}
