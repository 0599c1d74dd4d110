#!/usr/bin/env node
/**
 * The agent, without a person: headless Chromium in the real console page. See driver/README.md.
 * One JSON object a line on stdout; commands on stdin: join, leave, mute, end, quit.
 */
import { statSync } from "node:fs";
import { fragment, launch, onCommand, readOptions, reportStats, serve, tell } from "./browser.mjs";

const options = readOptions({ console: { type: "string" }, name: { type: "string", default: "driver" } });
if (options.console === undefined) throw new Error("--console needs the built page's directory, or its address");
if (!/^\d+$/.test(options.room)) throw new Error("--room needs a number");

const local = statSync(options.console, { throwIfNoEntry: false })?.isDirectory();
const address = local ? await serve(options.console) : options.console;
const { browser, page, pid } = await launch(options);
const stopStats = reportStats(page);
let wanted = true;

/** Signs in if need be, waits for the room's kiosk, and answers it. */
async function join() {
  wanted = true;
  if ((await screen()) === undefined) await page.goto(address + fragment({
    server: options.server,
    name: options.name,
    token: options.token,
    room_token: options["room-token"],
  }));
  if ((await screen()) === "sign-in") await page.click("#sign-in button[type=submit]");
  const answer = page.locator(`button[data-room="${options.room}"]:enabled`);
  while (wanted) {
    if ((await screen()) !== "waiting") await page.waitForTimeout(50);
    else if (await answer.count()) return answer.click({ timeout: 1_000 }).catch(() => join());
    else await page.waitForTimeout(50);
  }
}

function screen() {
  return page.evaluate(() => document.body?.dataset.screen);
}

async function hangUp() {
  wanted = false;
  if ((await screen()) !== "call") return;
  await page.click("#end");
  await page.waitForSelector("#waiting:not([hidden])");
}

async function quit(code = 0) {
  wanted = false;
  stopStats();
  await browser.close();
  process.exit(code);
}

const commands = {
  join,
  leave: hangUp,
  mute: () => page.click("#mute"),
  end: async () => {
    await hangUp();
    // The server is told by the page's own goodbye.
    await page.goto("about:blank");
    await quit();
  },
  quit,
};

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
