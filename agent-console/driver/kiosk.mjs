#!/usr/bin/env node
/**
 * A kiosk made of headless Chromium: what a browser needs for the call that the daemon makes, for comparison, and
 * the other end of the console's own tests. Same lines as agent.mjs; commands: leave, join, quit.
 */
import { fileURLToPath } from "node:url";
import { fragment, launch, obey, readOptions, reportStats, serve, tell } from "./browser.mjs";

const options = readOptions({
  id: { type: "string", default: "test" },
  pin: { type: "string" },
  "publish-only": { type: "boolean", default: false },
  "time-code": { type: "boolean" },
  size: { type: "string" },
  bitrate: { type: "string" },
});
const address = await serve(fileURLToPath(new URL("../build/kiosk/", import.meta.url)));
const { browser, page, pid } = await launch(options);
// CLOCK_MONOTONIC in milliseconds, which the page's own clock differs from by a constant.
await page.exposeFunction("driverClock", () => Number(process.hrtime.bigint()) / 1e6);

async function join() {
  const settings = {
    server: options.server,
    token: options.token,
    room_token: options["room-token"],
    room: options.room,
    pin: options.pin,
    id: options.id,
    peer: options["publish-only"] ? "nobody/" : "agent/",
    time_code: options["time-code"],
    size: options.size,
    bitrate: options.bitrate,
  };
  await page.goto("about:blank");
  await page.goto(address + fragment(settings));
}

async function leave() {
  await page.goto("about:blank");
  tell("left");
}

const run = obey({ join, leave }, { browser, seconds: options.seconds });
tell("ready", { page: address, chromium_pid: pid });
reportStats(page);
await run("join");
