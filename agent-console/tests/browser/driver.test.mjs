import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { DIST, Driver, JanusServer, until } from "./servers.mjs";

const SERVER = ["--server", "ws://127.0.0.1:8188"];
const janus = new JanusServer({ fullTrickle: true });
let kiosk;

before(async () => {
  await janus.start();
  kiosk = new Driver("kiosk", ...SERVER, "--id", "demo-1", "--publish-only");
  await kiosk.next("joined");
});
after(async () => {
  await kiosk?.stop();
  await janus.stop();
});

test("the agent joins, tells its figures, leaves and comes back", async () => {
  const agent = new Driver("agent", ...SERVER, "--console", DIST, "--name", "one");
  try {
    const joined = await agent.next("joined");
    const first = await agent.next("first-frame");
    assert.ok(Math.abs(first.at_ms - Date.now()) < 60_000 && joined.at_ms > 0);
    assert.deepEqual([first.width, first.height], [1280, 720]);
    const stats = await agent.next("stats", { also: (e) => e.frames_decoded > 20 && e.audio.energy > 0 });
    assert.deepEqual([stats.frame_width, stats.frame_height], [1280, 720]);
    assert.ok(stats.frames_per_second > 0 && stats.video_bytes > 0 && stats.audio.packets > 0 && stats.sent.frames > 0);
    for (const leg of ["publish", "subscribe"]) {
      const pair = stats.pairs.find((p) => p.leg === leg);
      assert.deepEqual([pair.local.protocol, pair.local.tcptype, pair.remote.protocol, pair.remote.tcptype], [
        "tcp", "active", "tcp", "passive"]);
      assert.ok(pair.remote.port >= 40000 && pair.remote.port <= 40099 && pair.remote.address === "10.9.0.1");
    }

    agent.say("leave");
    await agent.next("left");
    const from = agent.events.length;
    agent.say("join");
    await agent.next("first-frame", { from });

    const again = agent.events.length;
    kiosk.say("leave");
    kiosk.say("join");
    await agent.next("first-frame", { from: again });

    agent.say("end");
    await agent.next("left", { from: again });
    assert.deepEqual(agent.events.filter((e) => e.event === "error"), []);
  } finally {
    await agent.stop();
  }
});

test("a driver whose stdin is closed in a call is gone, with its Chromium, and the next is let in", async () => {
  const agent = new Driver("agent", ...SERVER, "--console", DIST);
  try {
    const { chromium_pid } = await agent.next("ready");
    await agent.next("first-frame");
    assert.equal(existsSync(`/proc/${chromium_pid}`), true);
    assert.equal(await agent.stop(), 0);
    await until("Chromium is gone", () => !existsSync(`/proc/${chromium_pid}`), 3_000);
  } finally {
    await agent.stop();
  }
});

test("the kiosk of --publish-only sends 1280x720 and takes nothing", async () => {
  const agent = new Driver("agent", ...SERVER, "--console", DIST);
  try {
    await agent.next("first-frame");
    const { sent, frames_decoded, pairs } = await kiosk.next("stats", { from: kiosk.events.length });
    assert.deepEqual([sent.width, sent.height, frames_decoded], [1280, 720, 0]);
    assert.deepEqual(pairs.map((p) => p.leg), ["publish"]);
    agent.say("end");
    await agent.next("left");
  } finally {
    assert.equal(await agent.stop(), 0);
  }
});

test("what the page complains of, and a word that is no command, are errors", async () => {
  const agent = new Driver("agent", ...SERVER, "--console", DIST, "--token", "wrong");
  try {
    const { message } = await agent.next("error");
    assert.match(message, /refused your access key/);
    agent.say("dance");
    await agent.next("error", { also: (e) => /dance: no such command/.test(e.message) });
  } finally {
    await agent.stop();
  }
});
