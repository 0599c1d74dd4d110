/** One peer connection with Janus, publishing or subscribing, that only ever sees TCP candidates. */
import { dataOf, type Handle, type Jsep, type Json, type TrickleCandidate } from "./janus.ts";
import { mayPass, tcpOnlySdp, type TcpOnlySdp } from "./tcp_only.ts";

export class Leg {
  readonly peer = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers: [] });
  /** The connection is gone for good; said once. */
  onFailed: (why: string) => void = () => {};
  /** Plugin events of the handle that are not about this connection. */
  onEvent: (data: Json) => void = () => {};

  // Candidates that arrive before the description that they belong to.
  #early: TrickleCandidate[] = [];
  #closed = false;

  constructor(readonly handle: Handle) {
    handle.onEvent = (message) => this.#receive(message);
    this.peer.onicecandidate = ({ candidate }) => {
      if (this.#closed) return;
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

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.handle.detach();
    this.peer.close();
  }

  #local(): Jsep {
    const { type, sdp } = this.peer.localDescription as RTCSessionDescription;
    return { type, sdp: tcpOnlySdp(sdp, "outgoing") };
  }

  #receive(message: Json): void {
    if (this.#closed) return;
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
    if (this.#closed) return;
    this.close();
    this.onFailed(why);
  }
}
