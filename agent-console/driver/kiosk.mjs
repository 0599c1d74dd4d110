#!/usr/bin/env node
/**
 * A kiosk made of headless Chromium: what a browser needs for the call that the daemon makes, for comparison, and
 * the other end of the console's own tests. Same lines as agent.mjs; commands: leave, join, quit.
 */
import { fileURLToPath } from "node:url";
import { fragment, launch, onCommand, readOptions, reportStats, serve, tell } from "./browser.mjs";

const options = readOptions({
  id: { type: "string", default: "test" },
  "publish-only": { type: "boolean", default: false },
});
const address = await serve(fileURLToPath(new URL("../build/kiosk/", import.meta.url)));
const { browser, page, pid } = await launch(options);
const stopStats = reportStats(page);

async function join() {
  const settings = {
    server: options.server,
    token: options.token,
    room_token: options["room-token"],
    room: options.room,
    id: options.id,
    peer: options["publish-only"] ? "nobody/" : "agent/",
  };
  await page.goto("about:blank");
  await page.goto(address + fragment(settings));
}

async function quit() {
  stopStats();
  await browser.close();
  process.exit(0);
}

const leave = async () => {
  await page.goto("about:blank");
  tell("left");
};
const commands = { join, leave, quit, end: () => leave().then(quit) };

function obey(word) {
  const command = commands[word];
  if (command === undefined) return tell("error", { message: `unknown command "${word}"` });
  Promise.resolve(command()).catch((error) => tell("error", { message: `${word}: ${error.message}` }));
}

onCommand(obey);
browser.on("disconnected", () => process.exit(1));
tell("ready", { page: address, chromium_pid: pid });
if (options.seconds !== undefined) setTimeout(() => obey("end"), Number(options.seconds) * 1_000);
obey("join");
