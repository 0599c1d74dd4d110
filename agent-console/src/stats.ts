/** What getStats() says about both legs, as figures that a person can read. Pure, but for `readLeg`. */

export interface Endpoint {
  readonly protocol: string;
  readonly tcptype: string | undefined;
  readonly address: string;
  readonly port: number;
  readonly type: string;
}

export interface LegFigures {
  /** The selected candidate pair; undefined until there is one. */
  readonly local: Endpoint | undefined;
  readonly remote: Endpoint | undefined;
  readonly roundTripMs: number | undefined;
  readonly width: number | undefined;
  readonly height: number | undefined;
  readonly framesPerSecond: number | undefined;
  /** Frames encoded (publishing) or decoded (subscribing) since the start. */
  readonly frames: number;
  /** Encoder or decoder, as the browser names it. */
  readonly codec: string | undefined;
  /** Bytes of video and audio payload since the start, and when they were counted (ms). */
  readonly videoBytes: number;
  readonly audioBytes: number;
  readonly at: number;
}

/** `partly`: one leg has no pair yet. `violated`: a selected pair is not TCP at both ends. */
export type Verdict = "tcp" | "connecting" | "violated";

type Stat = Record<string, unknown> & { id: string; type: string };

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function endpoint(stat: Stat | undefined): Endpoint | undefined {
  if (stat === undefined) return undefined;
  return {
    protocol: text(stat["protocol"]) ?? "unknown",
    tcptype: text(stat["tcpType"]),
    address: text(stat["address"]) ?? "",
    port: number(stat["port"]) ?? 0,
    type: text(stat["candidateType"]) ?? "",
  };
}

/** The figures of one leg, from the statistics of its peer connection. */
export function summarize(stats: Iterable<Stat>, at: number): LegFigures {
  const all = [...stats];
  const byId = new Map(all.map((stat) => [stat.id, stat]));
  const linked = (id: unknown) => (typeof id === "string" ? byId.get(id) : undefined);
  const pair = linked(all.find((s) => s.type === "transport")?.["selectedCandidatePairId"]);
  const rtp = all.filter((s) => s.type === "inbound-rtp" || s.type === "outbound-rtp");
  const video = rtp.find((s) => s["kind"] === "video");
  const audio = rtp.find((s) => s["kind"] === "audio");
  const bytes = (s: Stat | undefined) => number(s?.["bytesReceived"]) ?? number(s?.["bytesSent"]) ?? 0;
  const roundTrip = number(pair?.["currentRoundTripTime"]);
  return {
    local: endpoint(linked(pair?.["localCandidateId"])),
    remote: endpoint(linked(pair?.["remoteCandidateId"])),
    roundTripMs: roundTrip === undefined ? undefined : Math.round(roundTrip * 1000),
    width: number(video?.["frameWidth"]),
    height: number(video?.["frameHeight"]),
    framesPerSecond: number(video?.["framesPerSecond"]),
    frames: number(video?.["framesDecoded"]) ?? number(video?.["framesEncoded"]) ?? 0,
    codec: text(linked(video?.["codecId"])?.["mimeType"])?.replace("video/", ""),
    videoBytes: bytes(video),
    audioBytes: bytes(audio),
    at,
  };
}

/** Kilobits per second of video and audio between two readings; undefined where there is nothing to compare. */
export function kilobits(now: LegFigures, before: LegFigures | undefined): number | undefined {
  if (before === undefined || now.at <= before.at) return undefined;
  const bytes = now.videoBytes + now.audioBytes - before.videoBytes - before.audioBytes;
  return bytes < 0 ? undefined : Math.round((bytes * 8) / (now.at - before.at));
}

function isTcp(leg: LegFigures): boolean {
  // A dialled connection may show its own end as peer-reflexive, without a tcptype; its protocol is still told.
  return leg.local?.protocol === "tcp" && leg.remote?.protocol === "tcp" && leg.remote.tcptype === "passive";
}

/** The plain statement over both legs. A leg that isn't there (nobody to subscribe to) doesn't count as TCP. */
export function verdict(legs: readonly (LegFigures | undefined)[]): Verdict {
  const paired = legs.filter((leg) => leg?.local !== undefined && leg.remote !== undefined);
  if (paired.some((leg) => leg !== undefined && !isTcp(leg))) return "violated";
  return paired.length === legs.length ? "tcp" : "connecting";
}

/** Reads one peer connection. */
export async function readLeg(peer: RTCPeerConnection): Promise<LegFigures> {
  const stats: Stat[] = [];
  (await peer.getStats()).forEach((stat) => stats.push(stat as Stat));
  return summarize(stats, performance.now());
}
