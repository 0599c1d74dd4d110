/** The third screen: the customer, oneself, and the few buttons that a call needs. */
import type { Call, CallState } from "../call.ts";
import type { WaitingCustomer } from "../roster.ts";
import { readLeg, type LegFigures } from "../stats.ts";
import { clock, el, say } from "./dom.ts";
import { showTransport, type Legs } from "./transport.ts";

const remote = el("remote", HTMLVideoElement);
const self = el("self", HTMLVideoElement);
const cover = el("cover", HTMLDivElement);
const mute = el("mute", HTMLButtonElement);
const camera = el("camera", HTMLButtonElement);
const NOTHING: Legs = { subscribe: undefined, publish: undefined };
const STALL_MS = 3_000;

const COVERS: Record<CallState, string> = {
  connecting: "Connecting to the customer…",
  alone: "The kiosk has left the call. It will reappear here by itself when it is back.",
  recovering: "The connection was interrupted. Restoring the call…",
  together: "Waiting for the customer’s picture…",
};

/** What the screen shows of one call, from its start to `stop`. */
export class CallView {
  readonly #timer: number;
  readonly #started = Date.now();
  #before: Legs = NOTHING;
  #moved = { frames: 0, at: performance.now() };
  #heard = { bytes: 0, at: performance.now() };
  #state: CallState = "connecting";
  #stopped = false;

  constructor(
    private readonly call: Call,
    private readonly media: MediaStream,
    customer: WaitingCustomer,
    onEnd: () => void,
  ) {
    say(el("call-site", HTMLHeadingElement), customer.site === "" ? `Room ${customer.room}` : customer.site);
    say(el("call-kiosk", HTMLElement), `Kiosk ${customer.kiosk}`);
    self.srcObject = media;
    this.#toggle(mute, "audio", ["Mute microphone", "Unmute microphone"]);
    this.#toggle(camera, "video", ["Turn camera off", "Turn camera on"]);
    el("end", HTMLButtonElement).onclick = onEnd;
    remote.onresize = () => this.#uncover();
    this.setState("connecting");
    this.#timer = window.setInterval(() => void this.#tick(), 1_000);
    this.#showClock();
  }

  setState(state: CallState): void {
    this.#state = state;
    this.#moved = { frames: 0, at: performance.now() };
    this.#heard = { bytes: 0, at: performance.now() };
    say(el("stalled", HTMLDivElement), "");
    this.#uncover();
    // What the panel says of the transport must not outlive the state that it was said of.
    void this.#tick();
  }

  setRemote(stream: MediaStream | undefined): void {
    remote.srcObject = stream ?? null;
    this.#uncover();
  }

  stop(): void {
    this.#stopped = true;
    window.clearInterval(this.#timer);
    remote.srcObject = null;
    self.srcObject = null;
  }

  #uncover(): void {
    const picture = this.#state === "together" && remote.srcObject !== null && remote.videoWidth > 0;
    cover.hidden = picture;
    if (!picture) say(cover, COVERS[this.#state]);
  }

  #toggle(button: HTMLButtonElement, kind: "audio" | "video", [off, on]: [string, string]): void {
    const tracks = kind === "audio" ? this.media.getAudioTracks() : this.media.getVideoTracks();
    const apply = (pressed: boolean) => {
      for (const track of tracks) track.enabled = !pressed;
      button.dataset["off"] = String(pressed);
      say(button, pressed ? on : off);
      const missing = [mute, camera].flatMap((b, i) =>
        b.dataset["off"] === "true" ? [["microphone off", "camera off"][i]] : [],
      );
      say(el("self-note", HTMLElement), missing.length === 0 ? "You" : `You – ${missing.join(", ")}`);
    };
    apply(false);
    button.onclick = () => apply(button.dataset["off"] !== "true");
  }

  #showClock(): void {
    say(el("call-time", HTMLElement), clock(Date.now() - this.#started));
  }

  async #tick(): Promise<void> {
    this.#showClock();
    const { publish, subscribe } = this.call.peers();
    const now: Legs = {
      publish: publish && (await readLeg(publish)),
      subscribe: subscribe && (await readLeg(subscribe)),
    };
    if (this.#stopped) return;
    showTransport(now, this.#before);
    this.#before = now;
    this.#watch(now.subscribe);
    this.#uncover();
  }

  /** Says so when picture or sound stop: a frozen face must not pass for a calm one, nor a lost sound for silence. */
  #watch(leg: LegFigures | undefined): void {
    const at = performance.now();
    if (leg === undefined || leg.frames !== this.#moved.frames) this.#moved = { frames: leg?.frames ?? 0, at };
    // A kiosk may be configured to send no sound at all.
    const silent = !(remote.srcObject instanceof MediaStream) || remote.srcObject.getAudioTracks().length === 0;
    if (leg === undefined || silent || leg.audioBytes !== this.#heard.bytes) this.#heard = { bytes: leg?.audioBytes ?? 0, at };
    const stopped = cover.hidden ? [this.#moved, this.#heard].map((last) => at - last.at > STALL_MS) : [];
    const what = ["picture", "sound"].filter((_, index) => stopped[index]).join(" and ");
    say(el("stalled", HTMLDivElement), what === "" ? "" : `The customer’s ${what} stopped arriving`);
  }
}
