/** One peer connection with Janus, publishing or subscribing, that only ever sees TCP candidates. */
import { dataOf, type Handle, type Jsep, type Json, type TrickleCandidate } from "./janus.ts";
import { mayPass, tcpOnlySdp, type TcpOnlySdp } from "./tcp_only.ts";

/** How long Janus may take to notice that this side hung up. */
const HANG_UP_MS = 300;

export class Leg {
  readonly peer = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers: [] });
  /** The connection is gone for good; said once. */
  onFailed: (why: string) => void = () => {};
  /** Plugin events of the handle that are not about this connection. */
  onEvent: (data: Json) => void = () => {};

  // Candidates that arrive before the description that they belong to.
  #early: TrickleCandidate[] = [];
  #closing: Promise<void> | undefined;

  constructor(readonly handle: Handle) {
    handle.onEvent = (message) => this.#receive(message);
    this.peer.onicecandidate = ({ candidate }) => {
      if (this.#closing !== undefined) return;
      if (candidate === null || candidate.candidate === "") handle.trickle(undefined);
      else if (mayPass(candidate.candidate, "outgoing")) handle.trickle(candidate.toJSON() as TrickleCandidate);
    };
    this.peer.onconnectionstatechange = () => {
      if (this.peer.connectionState === "failed") this.#fail("the media connection failed");
    };
  }

  /** An offer to send to Janus. */
  async offer(): Promise<Jsep> {
    await this.peer.setLocalDescription(await this.peer.createOffer());
    return this.#local();
  }

  /** The answer to Janus's offer. */
  async answer(offer: Jsep): Promise<Jsep> {
    await this.accept(offer);
    await this.peer.setLocalDescription(await this.peer.createAnswer());
    return this.#local();
  }

  /** Takes Janus's description, without the candidates that may not pass. */
  async accept(description: Jsep): Promise<void> {
    const sdp: TcpOnlySdp = tcpOnlySdp(description.sdp, "incoming");
    await this.peer.setRemoteDescription({ type: description.type, sdp });
    for (const candidate of this.#early.splice(0)) await this.peer.addIceCandidate(candidate);
  }

  /**
   * Hangs up, then gives the handle back; done when Janus has let go of it, or doesn't answer. In this order: the side
   * that closes a TCP connection first keeps its port for a minute, and Janus has few of them.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const noticed = new Promise<void>((resolve) => {
      this.handle.onEvent = (message) => message["janus"] === "hangup" && resolve();
      window.setTimeout(resolve, HANG_UP_MS);
    });
    this.peer.close();
    if (this.peer.remoteDescription !== null) await noticed;
    await this.handle.detach();
  }

  #local(): Jsep {
    const { type, sdp } = this.peer.localDescription as RTCSessionDescription;
    return { type, sdp: tcpOnlySdp(sdp, "outgoing") };
  }

  #receive(message: Json): void {
    if (this.#closing !== undefined) return;
    if (message["janus"] === "trickle") this.#takeCandidate(message["candidate"]);
    else if (message["janus"] === "hangup") this.#fail(`the server ended the media: ${String(message["reason"])}`);
    else if (message["janus"] === "event") this.onEvent(dataOf(message));
  }

  #takeCandidate(value: unknown): void {
    const candidate = value as TrickleCandidate | undefined;
    if (typeof candidate?.candidate !== "string" || !mayPass(candidate.candidate, "incoming")) return;
    if (this.peer.remoteDescription === null) this.#early.push(candidate);
    else void this.peer.addIceCandidate(candidate).catch((e: unknown) => this.#fail(`bad candidate: ${String(e)}`));
  }

  #fail(why: string): void {
    if (this.#closing !== undefined) return;
    void this.close();
    this.onFailed(why);
  }
}
