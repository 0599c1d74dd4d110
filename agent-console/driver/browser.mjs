/** What both drivers share: a headless Chromium that plays a camera, a page server, lines in and lines out. */
import { createReadStream, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-ui-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
];

/** Options common to both drivers; `own` are those of one of them. Throws on an unknown one. */
export function readOptions(own) {
  const text = { type: "string" };
  const { values } = parseArgs({
    options: {
      server: text,
      token: text,
      "room-token": text,
      room: { ...text, default: "1001" },
      seconds: text,
      video: text,
      chromium: { ...text, default: "/usr/bin/chromium" },
      "chromium-arg": { ...text, multiple: true, default: [] },
      ...own,
    },
  });
  if (values.server === undefined) throw new Error("--server ws://HOST:PORT is needed");
  const forever = values.seconds === undefined;
  if (!forever && !(Number(values.seconds) > 0)) throw new Error("--seconds needs a number above 0");
  return values;
}

/** The fragment by which both pages take their settings. */
export function fragment(values) {
  const set = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  return `#${set.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
}

/** One event, as one line of JSON on stdout. */
export function tell(event, fields = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

/**
 * Obeys a word a line from stdin, and ends when stdin closes: a dead harness leaves nothing behind. `commands` are the
 * driver's own; `leave` among them ends the call. Added to them: `end` (leave, then quit) and `quit` (at once).
 * One command is carried out after the other; `callOff` ends the wait that the one before may be in.
 */
export function obey(commands, { browser, seconds, callOff = () => undefined }) {
  const quit = () => browser.close().finally(() => process.exit(0));
  let ending = false;
  const end = async () => {
    ending = true;
    setTimeout(quit, 5_000);
    await commands.leave();
    await quit();
  };
  const all = { ...commands, end };
  let before = Promise.resolve();
  const run = async (word) => {
    try {
      if (word === "quit") return void (ending || (await quit()));
      if (all[word] === undefined) throw new Error(`no such command; there are ${Object.keys(all).join(", ")}, quit`);
      callOff();
      before = before.catch(() => undefined).then(all[word]);
      await before;
    } catch (error) {
      if (browser.isConnected()) tell("error", { message: `${word}: ${error.message}` });
    }
  };
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => line.trim() !== "" && void run(line.trim()));
  lines.on("close", () => void run("quit"));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => void run("quit"));
  if (seconds !== undefined) setTimeout(() => void run("end"), Number(seconds) * 1_000);
  browser.on("disconnected", () => setTimeout(() => process.exit(1), 1_000));
  return run;
}

/** Serves a directory's files on 127.0.0.1, on a port of the system's choice; resolves to the address. */
export function serve(directory) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname));
    const file = join(directory, path.endsWith("/") ? `${path}index.html` : path);
    if (!statSync(file, { throwIfNoEntry: false })?.isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(response);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      server.unref();
      resolve(`http://127.0.0.1:${server.address().port}/`);
    });
  });
}

/** Starts Chromium with a page that carries the probe; resolves to both, and the process id of the browser. */
export async function launch(options) {
  const camera = options.video === undefined
    ? ["--use-fake-device-for-media-stream=fps=30"]
    : ["--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${options.video}`];
  const browser = await chromium.launch({
    executablePath: options.chromium,
    args: [...FLAGS, ...camera, ...options["chromium-arg"]],
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  });
  const children = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8").trim().split(" ");
  const context = await browser.newContext({ viewport: { width: 1280, height: 720 } });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  await page.exposeFunction("driverTell", tell);
  await page.addInitScript({ path: fileURLToPath(new URL("./probe.js", import.meta.url)) });
  page.on("pageerror", (error) => tell("error", { message: `the page threw: ${error.message}` }));
  page.on("crash", () => tell("error", { message: "the page crashed" }));
  return { browser, page, pid: Number(children[0]) };
}

/** Reports the page's statistics each second. */
export function reportStats(page) {
  let busy = false;
  setInterval(async () => {
    if (busy) return;
    busy = true;
    try {
      const stats = await page.evaluate(() => window.driverStats());
      if (stats !== null) tell("stats", stats);
    } catch {
      // The page is being left or reloaded; the next second will tell.
    } finally {
      busy = false;
    }
  }, 1_000);
}
