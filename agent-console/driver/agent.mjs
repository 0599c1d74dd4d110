#!/usr/bin/env node
/**
 * The agent, without a person: headless Chromium in the real console page. See driver/README.md.
 * One JSON object a line on stdout; commands on stdin: join, leave, mute, watch, end, quit.
 */
import { statSync } from "node:fs";
import { fragment, launch, obey, readOptions, reportStats, serve, tell } from "./browser.mjs";

const options = readOptions({ console: { type: "string" }, name: { type: "string", default: "driver" } });
if (options.console === undefined) throw new Error("--console needs the built page's directory, or its address");
if (!/^\d+$/.test(options.room)) throw new Error("--room needs a number");

const local = statSync(options.console, { throwIfNoEntry: false })?.isDirectory();
const address = local ? await serve(options.console) : options.console;
const { browser, page, pid } = await launch(options);
// Which `join` is in force: a later command calls an earlier wait off.
let turn = 0;

/** Signs in if need be, waits for the room's kiosk, and answers it. */
async function join() {
  const mine = ++turn;
  if ((await screen()) === undefined) {
    const { server, name, token, "room-token": room_token } = options;
    await page.goto(address + fragment({ server, name, token, room_token }));
  }
  if ((await screen()) === "sign-in") await page.click("#sign-in button[type=submit]");
  const answer = page.locator(`button[data-room="${options.room}"]:enabled`);
  while (turn === mine && (await screen()) !== "call") {
    // A customer who goes away while being answered is no error: the next one is waited for.
    if (await answer.count()) await answer.click({ timeout: 1_000 }).catch(() => undefined);
    else await page.waitForTimeout(50);
  }
  if (turn === mine) tell("answered", { at_ms: Date.now() });
}

function screen() {
  return page.evaluate(() => document.body?.dataset.screen);
}

async function hangUp() {
  if ((await screen()) !== "call") return;
  await page.click("#end");
  await page.waitForSelector("#waiting:not([hidden])");
  // A page that is closed says no goodbye; this one's call has to be over for the server too.
  await page.waitForTimeout(100);
}

const watch = () => page.evaluate(() => window.driverWatch());
const run = obey({ join, leave: hangUp, mute: () => page.click("#mute"), watch }, {
  browser,
  seconds: options.seconds,
  callOff: () => (turn += 1),
});
tell("ready", { page: address, chromium_pid: pid });
reportStats(page);
await run("join");
