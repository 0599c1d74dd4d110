/** A Janus client over one WebSocket: transactions, keepalive, and a session that outlives its socket. */
import { Backoff } from "./backoff.ts";

/** Janus's answer was an error, or none came. Codes are Janus's own (apierror.h, videoroom); 0 means "no answer". */
export class JanusError extends Error {
  constructor(
    readonly code: number,
    readonly reason: string,
  ) {
    super(`Janus error ${code}: ${reason}`);
  }
}

const NO_ANSWER = 0;
const SESSION_NOT_FOUND = 458;
const KEEPALIVE_MS = 15_000;
const ANSWER_MS = 10_000;

export type Jsep = { type: RTCSdpType; sdp: string };
export type TrickleCandidate = { candidate: string; sdpMid?: string | null; sdpMLineIndex?: number | null };
// What Janus sends is JSON of many shapes; each reader picks the fields that it knows and checks them.
export type Json = Record<string, unknown>;
export interface Answer {
  readonly data: Json;
  readonly jsep: Jsep | undefined;
}

/** `resumed`: the old session was claimed. `restarted`: it was gone, a new one is there and all handles are void. */
export type LinkState = "reconnecting" | "resumed" | "restarted" | "refused";

interface Pending {
  readonly resolve: (message: Json) => void;
  readonly reject: (error: JanusError) => void;
  readonly timer: number;
  readonly ackIsAnswer: boolean;
}

export class Janus {
  /** Told of every change of the link; `error` only with `refused`, after which no further attempt is made. */
  onLink: (state: LinkState, error?: JanusError) => void = () => {};

  #socket: WebSocket | undefined;
  #session = 0;
  #closed = false;
  #established = false;
  #reconnecting = false;
  #nextTransaction = 1;
  readonly #pending = new Map<string, Pending>();
  readonly #handles = new Map<number, Handle>();
  readonly #keepalive: number;

  private constructor(
    private readonly url: string,
    private readonly token: string | undefined,
  ) {
    this.#keepalive = window.setInterval(() => void this.#stayAlive(), KEEPALIVE_MS);
  }

  /** Opens the socket and a session; rejects with the reason when either fails. */
  static async connect(url: string, token: string | undefined): Promise<Janus> {
    const janus = new Janus(url, token);
    try {
      await janus.#open();
      await janus.#createSession();
      janus.#established = true;
      return janus;
    } catch (error) {
      janus.close();
      throw error;
    }
  }

  async attach(): Promise<Handle> {
    const answer = await this.request({ janus: "attach", plugin: "janus.plugin.videoroom" });
    const handle = new Handle(this, idOf(answer));
    this.#handles.set(handle.id, handle);
    return handle;
  }

  /** Ends the session at once (also when the page is being closed, when nothing can be awaited any more). */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    window.clearInterval(this.#keepalive);
    if (this.#socket?.readyState === WebSocket.OPEN && this.#session !== 0) {
      this.#post({ janus: "destroy", session_id: this.#session });
    }
    this.#socket?.close();
    this.#failPending("signed out");
  }

  /** One request and its answer. An `ack` only announces the answer, except to a keepalive, which has no other. */
  request(body: Json): Promise<Json> {
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) {
        reject(new JanusError(NO_ANSWER, "not connected to the server"));
        return;
      }
      const transaction = String(this.#nextTransaction++);
      const timer = window.setTimeout(() => {
        this.#pending.delete(transaction);
        const what = `the server didn't answer "${String(body["janus"])}" in ${ANSWER_MS / 1000} s`;
        reject(new JanusError(NO_ANSWER, what));
      }, ANSWER_MS);
      const ackIsAnswer = body["janus"] === "keepalive";
      this.#pending.set(transaction, { resolve, reject, timer, ackIsAnswer });
      this.#post({ ...(this.#session === 0 ? {} : { session_id: this.#session }), ...body, transaction });
    });
  }

  /** A request whose answer nobody waits for; lost if the socket is. */
  tell(body: Json): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#post({ session_id: this.#session, ...body });
  }

  forget(handle: Handle): void {
    this.#handles.delete(handle.id);
  }

  #post(body: Json): void {
    const message = { transaction: `t${this.#nextTransaction++}`, ...body };
    this.#socket?.send(JSON.stringify(this.token === undefined ? message : { ...message, token: this.token }));
  }

  #open(): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(this.url, "janus-protocol");
      this.#socket = socket;
      let opened = false;
      const timer = window.setTimeout(() => socket.close(), ANSWER_MS);
      socket.onopen = () => {
        opened = true;
        window.clearTimeout(timer);
        resolve();
      };
      socket.onmessage = (event) => this.#receive(String(event.data));
      socket.onclose = () => {
        window.clearTimeout(timer);
        this.#failPending("the connection to the server was lost");
        if (!opened) reject(new JanusError(NO_ANSWER, `no connection to ${this.url}`));
        else if (this.#socket === socket) void this.#reconnect();
      };
    });
  }

  async #createSession(): Promise<void> {
    this.#session = 0;
    this.#session = idOf(await this.request({ janus: "create" }));
  }

  async #reconnect(): Promise<void> {
    if (this.#closed || this.#reconnecting || !this.#established) return;
    this.#reconnecting = true;
    this.onLink("reconnecting");
    const backoff = new Backoff();
    try {
      for (;;) {
        await new Promise((wake) => window.setTimeout(wake, backoff.next(Math.random())));
        if (this.#closed) return;
        const outcome = await this.#attempt();
        if (this.#closed) return;
        if (outcome === "no answer") continue;
        if (outcome instanceof JanusError) {
          this.close();
          this.onLink("refused", outcome);
        } else {
          this.onLink(outcome);
        }
        return;
      }
    } finally {
      this.#reconnecting = false;
    }
  }

  async #attempt(): Promise<"resumed" | "restarted" | "no answer" | JanusError> {
    try {
      await this.#open();
      if (this.#session !== 0 && (await this.#claim())) return "resumed";
      this.#handles.clear();
      await this.#createSession();
      return "restarted";
    } catch (error) {
      if (!(error instanceof JanusError)) throw error;
      return error.code === NO_ANSWER ? "no answer" : error;
    }
  }

  /** True if the session is ours again, false if Janus no longer has it. */
  async #claim(): Promise<boolean> {
    try {
      await this.request({ janus: "claim" });
      return true;
    } catch (error) {
      if (error instanceof JanusError && error.code === SESSION_NOT_FOUND) return false;
      throw error;
    }
  }

  /** A socket that no longer answers is as good as lost; closing it starts the reconnection. */
  async #stayAlive(): Promise<void> {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN || !this.#established || this.#reconnecting) return;
    try {
      await this.request({ janus: "keepalive" });
    } catch (error) {
      if (error instanceof JanusError && this.#socket === socket) this.#abandon(socket);
    }
  }

  // close() alone would wait for the other side's goodbye, for up to a minute on a dead path.
  #abandon(socket: WebSocket): void {
    socket.onclose = null;
    socket.close();
    this.#failPending("the connection to the server was lost");
    void this.#reconnect();
  }

  #receive(text: string): void {
    let message: Json;
    try {
      message = JSON.parse(text) as Json;
    } catch {
      return;
    }
    const kind = message["janus"];
    const transaction = message["transaction"];
    const pending = typeof transaction === "string" ? this.#pending.get(transaction) : undefined;
    if (pending !== undefined && typeof transaction === "string") {
      if (kind === "ack" && !pending.ackIsAnswer) return;
      this.#pending.delete(transaction);
      window.clearTimeout(pending.timer);
      const error = errorOf(message);
      if (error === undefined) pending.resolve(message);
      else pending.reject(error);
      return;
    }
    const sender = message["sender"];
    if (typeof sender === "number") this.#handles.get(sender)?.deliver(message);
    if (kind === "timeout") this.#socket?.close();
  }

  #failPending(reason: string): void {
    for (const { reject, timer } of this.#pending.values()) {
      window.clearTimeout(timer);
      reject(new JanusError(NO_ANSWER, reason));
    }
    this.#pending.clear();
  }
}

/** One attachment to the videoroom plugin. */
export class Handle {
  /** What arrives without having been asked for: plugin events, trickle, hangup. */
  onEvent: (message: Json) => void = () => {};

  constructor(
    private readonly janus: Janus,
    readonly id: number,
  ) {}

  /** A videoroom request, with an SDP if there is one; rejects with the plugin's error. */
  async message(body: Json, jsep?: Jsep): Promise<Answer> {
    const request = { janus: "message", handle_id: this.id, body };
    const answer = await this.janus.request(jsep === undefined ? request : { ...request, jsep });
    return { data: dataOf(answer), jsep: jsepOf(answer) };
  }

  /** One candidate, or undefined for "that was the last". */
  trickle(candidate: TrickleCandidate | undefined): void {
    this.janus.tell({ janus: "trickle", handle_id: this.id, candidate: candidate ?? { completed: true } });
  }

  /** Gives the attachment up; its media end with it. Done when Janus says so, or doesn't answer. */
  async detach(): Promise<void> {
    this.onEvent = () => {};
    this.janus.forget(this);
    await this.janus.request({ janus: "detach", handle_id: this.id }).catch(() => undefined);
  }

  deliver(message: Json): void {
    this.onEvent(message);
  }
}

/** The plugin's own data in a message; empty if there are none. */
export function dataOf(message: Json): Json {
  const data = (message["plugindata"] as Json | undefined)?.["data"];
  return typeof data === "object" && data !== null ? (data as Json) : {};
}

function jsepOf(message: Json): Jsep | undefined {
  const jsep = message["jsep"] as Json | undefined;
  const type = jsep?.["type"];
  const sdp = jsep?.["sdp"];
  return (type === "offer" || type === "answer") && typeof sdp === "string" ? { type, sdp } : undefined;
}

function idOf(message: Json): number {
  const id = (message["data"] as Json | undefined)?.["id"];
  if (typeof id !== "number") throw new JanusError(NO_ANSWER, "the server answered without an id");
  return id;
}

/** Errors come from Janus itself (`error`) or from the plugin (`error_code` in its data). */
function errorOf(message: Json): JanusError | undefined {
  const own = message["error"] as Json | undefined;
  if (own !== undefined) return new JanusError(Number(own["code"]), String(own["reason"]));
  const data = dataOf(message);
  return data["error_code"] === undefined
    ? undefined
    : new JanusError(Number(data["error_code"]), String(data["error"]));
}
