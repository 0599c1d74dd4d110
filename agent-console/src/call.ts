/** A call: this side's camera and microphone are published, the other side's are subscribed to, in one room. */
import { Backoff } from "./backoff.ts";
import { JanusError, type Janus, type Json } from "./janus.ts";
import { Leg } from "./leg.ts";
import { feeds, OtherSide, participants, type Feed } from "./room.ts";

export interface CallSettings {
  readonly room: number;
  readonly roomToken: string | undefined;
  /** PIN of the room, if it wants one. */
  readonly pin: string | undefined;
  /** Name in the room, `role/name`. */
  readonly display: string;
  /** Who is subscribed to: the feed whose display starts with this. */
  readonly peer: string;
  readonly media: MediaStream;
  readonly maxBitrate: number;
  /** What gives when the line or the computer can't carry the picture as it is. */
  readonly degradation: RTCDegradationPreference;
}

/** `alone`: published, the other side isn't there (any more). `recovering`: being built up anew. */
export type CallState = "connecting" | "alone" | "together" | "recovering";

/** Another participant of the same role has the call already; `own`: under this side's own name. */
export class Taken extends Error {
  constructor(readonly own: boolean) {
    super("another participant has this call");
  }
}

const ROOM_FULL = 432;
export const UNAUTHORIZED = 433;
const NO_SUCH_ROOM = 426;

/** Janus has no port left ("Error setting ICE locally"): connections that ended give theirs back within a minute. */
export const NO_PORT = 490;
/** Ports, and a page of this agent's that crashed, get this long to be let go of by Janus before the agent is told. */
const PATIENCE_MS = 8_000;
/** A page of this agent's that lost its line stands in the room this long. */
const GHOST_MS = 60_000;
const RETRY_MS = 400;

export class Call {
  onState: (state: CallState) => void = () => {};
  onRemote: (stream: MediaStream | undefined) => void = () => {};
  /** The call can't go on; it has ended itself. */
  onEnded: (error: Error) => void = () => {};

  #publish: Leg | undefined;
  #subscribe: Leg | undefined;
  // The feed that is subscribed to, and the one that should be.
  #feed: Feed | undefined;
  readonly #other: OtherSide;
  #ownId = 0;
  #ended = false;
  #recovery: Promise<void> | undefined;
  // Cuts the wait between two attempts short, when the server is back.
  #wake: () => void = () => {};
  // Everything that changes the legs runs one after the other: events arrive faster than negotiations end.
  #turn: Promise<void> = Promise.resolve();

  constructor(
    private readonly janus: Janus,
    private readonly settings: CallSettings,
  ) {
    this.#other = new OtherSide(settings.peer);
  }

  /** Joins, publishes, and subscribes if the other side is there; rejects if the first two fail. */
  async start(): Promise<void> {
    this.onState("connecting");
    const until = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        await this.#inTurn(() => this.#join());
        return;
      } catch (error) {
        if (!mayPassBy(error) || performance.now() > until || this.#ended) {
          await this.end();
          throw error;
        }
      }
      await this.#closeLegs();
      await new Promise((wake) => window.setTimeout(wake, RETRY_MS));
    }
  }

  /** Hangs up; done when Janus has let go of this side. */
  end(): Promise<void> {
    this.#ended = true;
    return this.#closeLegs();
  }

  /** The session was claimed after the socket had been lost: events may have been missed, so look around. */
  resumed(): void {
    this.#wake();
    void this.#recovering(() => this.#inTurn(() => this.#resync()));
  }

  /** The session is a new one: nothing of the old call is left. */
  restarted(): void {
    this.#wake();
    void this.rebuild();
  }

  /** Builds the whole call anew, with back-off, until it stands or can't be. */
  async rebuild(): Promise<void> {
    if (this.#ended) return;
    this.#recovery ??= this.#rebuildUntilDone().finally(() => (this.#recovery = undefined));
    await this.#recovery;
  }

  /** The peer connections as they are now. */
  peers(): { publish: RTCPeerConnection | undefined; subscribe: RTCPeerConnection | undefined } {
    return { publish: this.#publish?.peer, subscribe: this.#subscribe?.peer };
  }

  async #rebuildUntilDone(): Promise<void> {
    const backoff = new Backoff();
    const until = performance.now() + GHOST_MS;
    while (!this.#ended) {
      this.onState("recovering");
      try {
        await this.#inTurn(async () => {
          // Before Janus has let go of it, what was published would stand in the way of what is published anew.
          await this.#closeLegs();
          await this.#join();
        });
        return;
      } catch (error) {
        if (isFinal(error) && (!mayPassBy(error) || performance.now() > until)) {
          this.#giveUp(error as Error);
          return;
        }
      }
      await new Promise<void>((wake) => {
        this.#wake = wake;
        window.setTimeout(wake, 250 + backoff.next(Math.random()));
      });
    }
  }

  async #recovering(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch {
      await this.rebuild();
    }
  }

  #inTurn(step: () => Promise<void>): Promise<void> {
    const run = this.#turn.then(() => (this.#ended ? undefined : step()));
    this.#turn = run.catch(() => undefined);
    return run;
  }

  async #join(): Promise<void> {
    const { room, display } = this.settings;
    const leg = new Leg(await this.janus.attach());
    if (this.#ended) return void leg.close();
    this.#publish = leg;
    leg.onFailed = () => void this.rebuild();
    leg.onEvent = (data) => this.#roomEvent(data);
    const joined = await leg.handle.message({ request: "join", ptype: "publisher", room, display, ...auth(this.settings) });
    const present = feeds(joined.data);
    this.#other.present(present);
    this.#ownId = Number(joined.data["id"]);
    const rival = this.#rival(present);
    if (rival !== undefined) throw new Taken(rival.display === display);
    await this.#addMedia(leg);
    const answer = await leg.handle.message({ request: "publish" }, await leg.offer());
    if (answer.jsep === undefined) throw new JanusError(0, "the server sent no answer to the published media");
    await leg.accept(answer.jsep);
    // What is published stands; a subscription that fails is begun again by itself.
    void this.#recovering(() => this.#inTurn(() => this.#follow()));
  }

  async #addMedia(leg: Leg): Promise<void> {
    const { media, maxBitrate, degradation } = this.settings;
    for (const track of media.getTracks()) {
      const video = track.kind === "video";
      const transceiver = leg.peer.addTransceiver(track, {
        direction: "sendonly",
        streams: [media],
        ...(video ? { sendEncodings: [{ maxBitrate }] } : {}),
      });
      transceiver.setCodecPreferences(wantedCodecs(track.kind));
      if (!video) continue;
      const parameters = { ...transceiver.sender.getParameters(), degradationPreference: degradation };
      await transceiver.sender.setParameters(parameters);
    }
  }

  /** Someone else of this side's own role. */
  #rival(present: readonly Feed[]): Feed | undefined {
    const role = this.settings.display.replace(/\/.*$/, "/");
    return present.find((feed) => feed.display.startsWith(role));
  }

  #roomEvent(data: Json): void {
    // Janus counts publishers by media that flow: two who come in the same moment both get in. The lower id stays.
    const rival = this.#rival(feeds(data));
    if (rival !== undefined && rival.id < this.#ownId) return this.#giveUp(new Taken(false));
    if (this.#other.event(data)) void this.#recovering(() => this.#inTurn(() => this.#follow()));
  }

  async #resync(): Promise<void> {
    const { room } = this.settings;
    const handle = this.#publish?.handle;
    if (handle === undefined) return;
    const people = participants((await handle.message({ request: "listparticipants", room })).data);
    const before = this.#feed;
    this.#other.present(people.filter((p) => p.publishes));
    const same = before !== undefined && before.id === this.#other.feed?.id;
    if (same) this.#feed = this.#other.feed;
    await this.#follow();
  }

  /** Makes the subscription the one that should be; which one that is, is asked now and not when this was planned. */
  async #follow(): Promise<void> {
    const { feed } = this.#other;
    if (feed !== undefined && feed === this.#feed) return this.onState("together");
    void this.#subscribe?.close();
    this.#subscribe = undefined;
    this.#feed = undefined;
    this.onRemote(undefined);
    if (feed === undefined) return this.onState("alone");
    const { room } = this.settings;
    const leg = new Leg(await this.janus.attach());
    if (this.#ended) return void leg.close();
    this.#subscribe = leg;
    this.#feed = feed;
    leg.onFailed = () => void this.#recovering(() => this.#inTurn(() => this.#resubscribe(leg)));
    const stream = new MediaStream();
    leg.peer.ontrack = ({ track }) => stream.addTrack(track);
    const request = { request: "join", ptype: "subscriber", room, streams: [{ feed: feed.id }] };
    const attached = await leg.handle.message({ ...request, ...auth(this.settings) });
    if (attached.jsep === undefined) throw new JanusError(0, "the server offered no media of the other side");
    await leg.handle.message({ request: "start" }, await leg.answer(attached.jsep));
    this.onRemote(stream);
    this.onState("together");
  }

  // A subscription that failed while its feed is still there is made again; Janus's room decides, not our memory.
  async #resubscribe(failed: Leg): Promise<void> {
    if (this.#subscribe !== failed) return;
    this.#feed = undefined;
    this.onRemote(undefined);
    this.onState("recovering");
    await this.#resync();
  }

  #giveUp(error: Error): void {
    if (this.#ended) return;
    void this.end();
    this.onEnded(error);
  }

  async #closeLegs(): Promise<void> {
    const closing = [this.#publish?.close(), this.#subscribe?.close()];
    this.#publish = this.#subscribe = this.#feed = undefined;
    this.onRemote(undefined);
    await Promise.all(closing);
  }
}

/** What opens the room. */
function auth({ roomToken, pin }: CallSettings): { token?: string; pin?: string } {
  return { ...(roomToken === undefined ? {} : { token: roomToken }), ...(pin === undefined ? {} : { pin }) };
}

/** Errors that may be over a moment later. */
function mayPassBy(error: unknown): boolean {
  return error instanceof Taken ? error.own : error instanceof JanusError && error.code === NO_PORT;
}

/** Errors that no further attempt would change. */
function isFinal(error: unknown): boolean {
  if (error instanceof Taken) return true;
  return error instanceof JanusError && [ROOM_FULL, UNAUTHORIZED, NO_SUCH_ROOM].includes(error.code);
}

/** H.264 constrained baseline (42e01f, packetization mode 1) and Opus: what the rooms of this system carry. */
function wantedCodecs(kind: string): RTCRtpCodec[] {
  const all = RTCRtpSender.getCapabilities(kind)?.codecs ?? [];
  const wanted = all.filter(({ mimeType, sdpFmtpLine }) =>
    kind === "audio"
      ? mimeType.toLowerCase() === "audio/opus"
      : mimeType.toLowerCase() === "video/h264" && /profile-level-id=42e01f/i.test(sdpFmtpLine ?? "") &&
        /packetization-mode=1/.test(sdpFmtpLine ?? ""),
  );
  if (wanted.length === 0) throw new CodecMissing(kind);
  return wanted;
}

/** This browser can't send what the room carries. */
export class CodecMissing extends Error {
  constructor(readonly kind: string) {
    super(`this browser can't send ${kind === "audio" ? "Opus audio" : "H.264 video"}`);
  }
}
