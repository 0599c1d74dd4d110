/** What the browser's tests run against: a real Janus with signed tokens, and a line to it that can be cut. */
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const SECRET = "only-for-this-test";
const ADDRESS = "10.9.0.1";
const DRIVER = fileURLToPath(new URL("../../driver/", import.meta.url));
export const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
export const ROOM = 1001;
export const PIN_ROOM = 1002;
export const PIN = "2468";

/** Janus hands its candidates over inside its SDP, as the product has it, or one by one (full trickle). */
const config = (fullTrickle) => ({
  "janus.jcfg": `
    general: { admin_secret = "${SECRET}-admin" token_auth = true token_auth_secret = "${SECRET}"
      session_timeout = 60 reclaim_session_timeout = 20 debug_level = 3 debug_colors = false }
    media: { rtp_port_range = "40000-40099" }
    nat: { full_trickle = ${fullTrickle} ice_lite = true ice_tcp = true ice_enforce_list = "${ADDRESS}" }`,
  "janus.transport.websockets.jcfg": `
    general: { json = "compact" ws = true ws_port = 8188 ws_ip = "127.0.0.1" wss = false }
    admin: { admin_ws = false }`,
  "janus.plugin.videoroom.jcfg": `
    room-${ROOM}: { description = "Branch 12, Gangnam" publishers = 2 videocodec = "h264" h264_profile = "42e01f"
      audiocodec = "opus" fir_freq = 0 signed_tokens = true }
    room-${PIN_ROOM}: { description = "Branch 13" publishers = 2 videocodec = "h264" h264_profile = "42e01f"
      audiocodec = "opus" fir_freq = 0 signed_tokens = true pin = "${PIN}" }`,
  "janus.transport.http.jcfg": `general: { http = false } admin: { admin_http = false }`,
  "janus.transport.pfunix.jcfg": `general: { enabled = false } admin: { admin_enabled = false }`,
});

/** A signed token as the server makes them: `expiry,realm,...:signature`. */
export function sign(seconds, ...realm) {
  const data = [Math.floor(Date.now() / 1000) + seconds, ...realm].join(",");
  return `${data}:${createHmac("sha1", SECRET).update(data).digest("base64")}`;
}

export const API_TOKEN = sign(3600, "janus", "janus.plugin.videoroom");
export const ROOM_TOKEN = sign(3600, "janus.plugin.videoroom", `room=${ROOM}`, `room=${PIN_ROOM}`);

/** Waits for something to become true; fails with what it was. */
export async function until(what, check, milliseconds = 15_000) {
  const end = Date.now() + milliseconds;
  for (;;) {
    if (await check()) return;
    const said = () => (what instanceof Function ? what() : what);
    if (Date.now() > end) throw new Error(`not within ${milliseconds / 1000} s: ${said()}`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

/** Janus on ws://127.0.0.1:8188, with media on 10.9.0.1. */
export class JanusServer {
  #folder = mkdtempSync(join(tmpdir(), "agent-console-janus-"));
  #process;
  #wanted = false;
  #fullTrickle;

  constructor({ fullTrickle = false } = {}) {
    this.#fullTrickle = fullTrickle;
  }

  async start() {
    for (const [name, text] of Object.entries(config(this.#fullTrickle))) {
      // One setting a line: the grammar wants a separator that a newline is.
      const lines = text.replace(/\{ /g, "{\n").replace(/ (?=\w+ = )/g, "\n").replace(/ \}/g, "\n}");
      writeFileSync(join(this.#folder, name), lines);
    }
    this.#wanted = true;
    this.#run();
    // Looked up, not dialled: see #run.
    await until("Janus listens on port 8188", listens);
  }

  // Janus 1.1.2 dies of SIGSEGV now and then when a client connects while it starts, which is what clients do that
  // lost it. A service manager starts it again; so does this.
  #run() {
    this.#process = spawn("janus", ["--configs-folder", this.#folder], { stdio: "ignore", cwd: this.#folder });
    this.#process.once("exit", () => this.#wanted && setTimeout(() => this.#wanted && this.#run(), 200));
  }

  /** As by a power cut. */
  async kill() {
    this.#wanted = false;
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const gone = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await gone;
  }

  async stop() {
    await this.kill();
    rmSync(this.#folder, { recursive: true });
  }
}

/** Whether a socket of this network namespace listens on Janus's port (0A is LISTEN, 1FFC is 8188). */
function listens() {
  return ["tcp", "tcp6"].some((file) => /:1FFC \S+ 0A /.test(readFileSync(`/proc/net/${file}`, "utf8")));
}

/** Passes bytes on to Janus, until it is cut. */
export class Line {
  #sockets = new Set();
  #whole = true;
  #server = createServer((near) => {
    if (!this.#whole) return void near.destroy();
    const far = connect(8188, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]]) {
      this.#sockets.add(one);
      one.pipe(other);
      one.on("error", () => undefined);
      one.on("close", () => this.#sockets.delete(one) && other.destroy());
    }
  });

  async start() {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `ws://127.0.0.1:${this.#server.address().port}`;
  }

  cut() {
    this.#whole = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() {
    this.#whole = true;
  }

  stop() {
    this.cut();
    this.#server.close();
  }
}

/** One of the drivers as a child process: its events so far, and words to it. */
export class Driver {
  events = [];
  #process;

  constructor(script, ...options) {
    const args = [`${DRIVER}${script}.mjs`, "--token", API_TOKEN, "--room-token", ROOM_TOKEN, ...options];
    this.#process = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#process.stdout }).on("line", (line) => this.events.push(JSON.parse(line)));
  }

  say(word) {
    this.#process.stdin.write(`${word}\n`);
  }

  /** The first event of this kind (with what `also` asks for) after the first `from` events. */
  async next(kind, { from = 0, also = () => true } = {}) {
    const match = () => this.events.slice(from).find((e) => e.event === kind && also(e));
    await until(() => `"${kind}" among ${JSON.stringify(this.events.slice(from))}`, match, 20_000);
    return match();
  }

  /** Closes its stdin, which is to end it; resolves to its exit code. */
  async stop() {
    if (this.#process.exitCode !== null) return this.#process.exitCode;
    const gone = once(this.#process, "exit");
    this.#process.stdin.end();
    const [code] = await gone;
    return code;
  }
}
