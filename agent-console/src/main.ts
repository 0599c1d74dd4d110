/** The console: signs in, lists who waits, holds one call at a time. */
import { displayName, type Access } from "./access.ts";
import { Call, UNAUTHORIZED } from "./call.ts";
import { Janus, JanusError, type LinkState } from "./janus.ts";
import { INSECURE_PAGE, problemOf } from "./problems.ts";
import { Roster, type WaitingCustomer } from "./roster.ts";
import { CallView } from "./ui/call_view.ts";
import { el, say, show } from "./ui/dom.ts";
import { clearProblem, showProblem } from "./ui/notice.ts";
import { askPin } from "./ui/pin.ts";
import { onSignIn, prefill } from "./ui/sign_in.ts";
import { lockWaiting, showWaiting } from "./ui/waiting.ts";

/** Bits per second of the agent's own picture: what the guide's slowest usual link carries. */
const MAX_BITRATE = 1_000_000;
const CAMERA: MediaStreamConstraints = {
  video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } },
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
};

/** Everything between signing in and signing out. */
class Desk {
  #roster: Roster | undefined;
  #call: { call: Call; view: CallView; media: MediaStream } | undefined;
  #answering = false;
  readonly #pins = new Map<number, string>();
  // Until the server has let go of the call before, it would stand in the way of the next.
  #left: Promise<void> = Promise.resolve();

  constructor(
    private readonly access: Access,
    private readonly janus: Janus,
  ) {
    janus.onLink = (state, error) => this.#linkChanged(state, error);
    say(el("who", HTMLElement), access.name);
    el("sign-out", HTMLButtonElement).hidden = false;
    el("sign-out", HTMLButtonElement).onclick = () => this.signOut();
    // Without a goodbye the server would keep this agent in the room, and refuse its return, until it times out.
    window.onpagehide = () => this.janus.close();
    badge("Connected", "good");
  }

  async openList(): Promise<void> {
    this.#roster?.stop();
    show("waiting");
    showWaiting([], () => {});
    try {
      const handle = await this.janus.attach();
      this.#roster = new Roster(
        handle,
        (waiting) => showWaiting(waiting, (customer) => void this.#answer(customer)),
        // Silence is the link's matter; it has its own sign in the header.
        (error) => error.code !== 0 && this.#complain(error),
      );
    } catch (error) {
      this.#complain(error);
    }
  }

  signOut(): void {
    this.#leaveCall();
    this.#roster?.stop();
    void this.#left.then(() => this.janus.close());
    say(el("who", HTMLElement), "");
    el("sign-out", HTMLButtonElement).hidden = true;
    badge("", "none");
    show("sign-in");
  }

  async #answer(customer: WaitingCustomer): Promise<void> {
    if (this.#answering) return;
    this.#answering = true;
    lockWaiting(true);
    clearProblem();
    try {
      if (customer.pinRequired && !(await this.#pinKnown(customer))) return;
      const media = await navigator.mediaDevices.getUserMedia(CAMERA);
      await this.#left;
      await this.#hold(customer, media);
    } catch (error) {
      // Whether it was the PIN or the key, Janus doesn't say.
      if (error instanceof JanusError && error.code === UNAUTHORIZED) this.#pins.delete(customer.room);
      this.#leaveCall();
      await this.openList();
      this.#complain(error);
    } finally {
      this.#answering = false;
      lockWaiting(false);
    }
  }

  async #pinKnown(customer: WaitingCustomer): Promise<boolean> {
    const pin = this.#pins.get(customer.room) ?? (await askPin(customer));
    if (pin !== undefined) this.#pins.set(customer.room, pin);
    return pin !== undefined;
  }

  async #hold(customer: WaitingCustomer, media: MediaStream): Promise<void> {
    const call = new Call(this.janus, {
      room: customer.room,
      roomToken: this.access.roomToken,
      pin: customer.pinRequired ? this.#pins.get(customer.room) : undefined,
      display: displayName("agent", this.access.name),
      peer: "kiosk/",
      media,
      maxBitrate: MAX_BITRATE,
      degradation: "balanced",
    });
    const view = new CallView(call, media, customer, () => void this.#hangUp());
    this.#call = { call, view, media };
    call.onState = (state) => view.setState(state);
    call.onRemote = (stream) => view.setRemote(stream);
    call.onEnded = (error) => void this.#hangUp().then(() => this.#complain(error));
    this.#roster?.stop();
    show("call");
    await call.start();
  }

  async #hangUp(): Promise<void> {
    this.#leaveCall();
    await this.openList();
  }

  #leaveCall(): void {
    if (this.#call !== undefined) this.#left = this.#call.call.end();
    this.#call?.view.stop();
    for (const track of this.#call?.media.getTracks() ?? []) track.stop();
    this.#call = undefined;
  }

  #linkChanged(state: LinkState, error: JanusError | undefined): void {
    if (state === "reconnecting") return badge("Server lost – reconnecting…", "bad");
    if (state === "refused") {
      this.signOut();
      return this.#complain(error);
    }
    badge("Connected", "good");
    clearProblem();
    if (state === "resumed") this.#call?.call.resumed();
    else if (this.#call !== undefined) this.#call.call.restarted();
    else void this.openList();
  }

  #complain(error: unknown): void {
    showProblem(problemOf(error, this.access, Date.now()));
  }
}

function badge(text: string, mood: "good" | "bad" | "none"): void {
  const link = el("link", HTMLElement);
  link.dataset["mood"] = mood;
  say(link, text);
}

// A page that the browser kept aside comes back without its session.
window.onpageshow = ({ persisted }) => persisted && location.reload();
prefill();
show("sign-in");
if (!window.isSecureContext) showProblem(INSECURE_PAGE);
onSignIn(async (access) => {
  clearProblem();
  try {
    const desk = new Desk(access, await Janus.connect(access.server, access.token));
    await desk.openList();
  } catch (error) {
    showProblem(problemOf(error, access, Date.now()));
  }
});
