import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { chromium } from "playwright-core";
import { fragment, serve } from "../../driver/browser.mjs";
import { API_TOKEN, DIST, Driver, JanusServer, Line, PIN, PIN_ROOM, ROOM, ROOM_TOKEN, sign, until } from "./servers.mjs";

const ARGS = ["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream=fps=30"];
const ALLOW = "--use-fake-ui-for-media-stream";
const DIRECT = "ws://127.0.0.1:8188";

const janus = new JanusServer();
const line = new Line();
let cuttable, site, browser, kiosk, page;

before(async () => {
  await janus.start();
  cuttable = await line.start();
  site = await serve(DIST);
  browser = await launch(ALLOW);
  kiosk = new Driver("kiosk", "--server", DIRECT, "--id", "demo-1");
  await kiosk.next("joined");
});
after(async () => {
  await kiosk?.stop();
  await browser?.close();
  line.stop();
  await janus.stop();
});
beforeEach(async () => {
  page = await open();
});
afterEach(() => page.context().close());

function launch(...more) {
  return chromium.launch({ executablePath: "/usr/bin/chromium", args: [...ARGS, ...more] });
}

/** A console page that fails the test when its policy or its scripts complain. */
async function open(from = browser) {
  const opened = await from.newPage({ viewport: { width: 1280, height: 720 } });
  opened.setDefaultTimeout(15_000);
  opened.complaints = [];
  opened.on("pageerror", (error) => opened.complaints.push(error.message));
  opened.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) opened.complaints.push(message.text());
  });
  return opened;
}

async function signIn(on, { server = DIRECT, name = "Kim Ji-woo", token = API_TOKEN, room_token = ROOM_TOKEN } = {}) {
  await on.goto("about:blank");
  await on.goto(site + fragment({ server, name, token, room_token }));
  await on.getByRole("button", { name: "Sign in" }).click();
}

const customer = (on) => on.getByRole("button", { name: "Answer Branch 12, Gangnam, kiosk demo-1" });
const statement = (on) => on.locator("#verdict");
const cover = (on) => on.locator("#cover");

async function answer(on) {
  await customer(on).click();
  await statement(on).filter({ hasText: "TCP only – both legs" }).waitFor();
  await cover(on).waitFor({ state: "hidden" });
}

async function problem(on, text) {
  await on.getByRole("alert").filter({ hasText: text }).waitFor();
}

/** Frames of the customer's picture that this page has shown so far. */
function framesShown(on) {
  return on.evaluate(() => document.querySelector("#remote").getVideoPlaybackQuality().totalVideoFrames);
}

async function pictureMoves(on) {
  const start = await framesShown(on);
  await until("10 more frames of the customer", async () => (await framesShown(on)) >= start + 10);
}

test("a link fills the form in, and its secrets leave the address bar at once", async () => {
  await page.goto(site + fragment({ server: DIRECT, name: "Kim", token: "abc", room_token: "def" }));
  assert.equal(page.url(), site);
  assert.equal(await page.getByLabel("Server").inputValue(), DIRECT);
  assert.equal(await page.getByLabel("Access key").inputValue(), "abc def");
  assert.equal(await page.getByLabel("Access key").getAttribute("type"), "password");
  await page.evaluate(() => (location.hash = "#server=ws://127.0.0.1:1&token=ghi"));
  await until("the second link's secrets are gone too", () => page.url() === site);
  assert.equal(await page.getByLabel("Access key").inputValue(), "ghi");
});

test("what is missing is asked for before anything is sent", async () => {
  await page.goto(site);
  await page.getByRole("button", { name: "Sign in" }).click();
  assert.equal(await page.getByLabel("Server").evaluate((e) => e === document.activeElement), true);
  assert.equal(await page.getByLabel("Your name").getAttribute("aria-invalid"), "true");
});

test("wrong, expired and missing keys, and no server, are told apart", async () => {
  await signIn(page, { token: "wrong" });
  await problem(page, "refused your access key");
  await signIn(page, { token: sign(-60, "janus", "janus.plugin.videoroom") });
  await problem(page, "It expired on");
  await signIn(page, { token: null, room_token: null });
  await problem(page, "needs an access key");
  await signIn(page, { server: "ws://127.0.0.1:9" });
  await problem(page, "can’t be reached");
});

test("a key for another kiosk's room is refused when the call is answered", async () => {
  await signIn(page, { room_token: sign(3600, "janus.plugin.videoroom", "room=7") });
  await customer(page).click();
  await problem(page, "isn’t valid for this kiosk");
  await customer(page).waitFor();
});

test("a room that wants a PIN is asked about, once; a wrong one is said and asked for again", async () => {
  const guarded = new Driver("kiosk", "--server", DIRECT, "--id", "demo-2", "--room", String(PIN_ROOM), "--pin", PIN);
  try {
    await guarded.next("joined");
    const there = page.getByRole("button", { name: "Answer Branch 13, kiosk demo-2" });
    const dialog = page.getByRole("dialog", { name: "PIN of Branch 13" });
    const enter = async (pin) => {
      await there.click();
      await dialog.getByLabel("PIN", { exact: true }).fill(pin);
      await page.keyboard.press("Enter");
    };
    await signIn(page);
    await there.click();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    await enter("1357");
    await problem(page, "PIN isn’t valid for this kiosk");
    await enter(PIN);
    await statement(page).filter({ hasText: "TCP only – both legs" }).waitFor();
    await pictureMoves(page);
    await page.getByRole("button", { name: "End call" }).click();
    await there.click();
    await cover(page).waitFor({ state: "hidden" });
    assert.equal(await dialog.isVisible(), false);
    assert.deepEqual(page.complaints, []);
  } finally {
    await guarded.stop();
  }
});

test("a refused camera is said, with what to do, and the customer stays on the list", async () => {
  const strict = await launch("--deny-permission-prompts");
  try {
    const refused = await open(strict);
    await signIn(refused);
    await customer(refused).click();
    await problem(refused, "Camera and microphone are blocked");
    await customer(refused).waitFor();
  } finally {
    await strict.close();
  }
});

test("a call is two-way and TCP only, though the server offers UDP", async () => {
  const [sent, received] = [[], []];
  page.on("websocket", (socket) => {
    socket.on("framesent", ({ payload }) => sent.push(String(payload)));
    socket.on("framereceived", ({ payload }) => received.push(String(payload)));
  });
  await page.addInitScript(() => {
    const Original = RTCPeerConnection;
    window.peers = [];
    window.RTCPeerConnection = class extends Original {
      constructor(...settings) {
        super(...settings);
        window.peers.push(this);
      }
    };
  });
  const from = kiosk.events.length;
  await signIn(page);
  await answer(page);
  await pictureMoves(page);

  const got = await kiosk.next("stats", { from, also: (e) => e.frames_decoded > 30 && e.audio.energy > 0 });
  assert.deepEqual(got.pairs.map((p) => [p.leg, p.local.protocol, p.remote.protocol, p.remote.tcptype]).sort(), [
    ["publish", "tcp", "tcp", "passive"],
    ["subscribe", "tcp", "tcp", "passive"],
  ]);

  const candidates = (frames) => frames.flatMap((f) => f.match(/candidate:\d+ [^"\\]*/g) ?? []);
  assert.ok(candidates(received).some((c) => / udp /i.test(c)), "Janus offers UDP: else this test proves nothing");
  assert.ok(candidates(sent).some((c) => /tcptype active/.test(c)));
  assert.deepEqual(candidates(sent).filter((c) => !/ tcp .* tcptype active/i.test(c)), []);
  const known = await page.evaluate(async () => {
    const stats = (await Promise.all(window.peers.map((p) => p.getStats()))).flatMap((s) => [...s.values()]);
    return stats.filter((s) => s.type === "remote-candidate").map((s) => s.protocol);
  });
  assert.ok(known.length >= 2);
  assert.deepEqual(known.filter((protocol) => protocol !== "tcp"), []);

  const figures = await page.locator("#figures").innerText();
  assert.match(figures, /Protocol\s+TCP \/ TCP\s+TCP \/ TCP/);
  assert.match(figures, /Server\s+passive :40\d\d\d\s+passive :40\d\d\d/);
  assert.match(figures, /Picture\s+1280 × 720/);
  assert.deepEqual(page.complaints, []);
});

test("muting and the camera button really stop what is sent, and say so", async () => {
  await signIn(page);
  await answer(page);
  await page.getByRole("button", { name: "Mute microphone" }).click();
  await page.getByRole("button", { name: "Turn camera off" }).click();
  const tracks = await page.evaluateHandle(() => document.querySelector("#self").srcObject.getTracks());
  assert.deepEqual(await tracks.evaluate((all) => all.map((t) => t.enabled)), [false, false]);
  await page.getByText("You – microphone off, camera off").waitFor();
  await page.getByRole("button", { name: "Unmute microphone" }).click();
  await page.getByText("You – camera off").waitFor();
});

test("ending a call frees camera and customer", async () => {
  await signIn(page);
  await answer(page);
  const track = await page.evaluateHandle(() => document.querySelector("#self").srcObject.getVideoTracks()[0]);
  await page.getByRole("button", { name: "End call" }).click();
  await customer(page).waitFor();
  assert.equal(await track.evaluate((t) => t.readyState), "ended");
});

test("a kiosk that leaves and comes back is seen again without a click", async () => {
  await signIn(page);
  await answer(page);
  kiosk.say("leave");
  kiosk.say("join");
  await cover(page).filter({ hasText: "The kiosk has left the call" }).waitFor();
  await statement(page).filter({ hasText: "Waiting for both legs" }).waitFor();
  await cover(page).waitFor({ state: "hidden" });
  await pictureMoves(page);
});

test("an agent who comes second is told so, and doesn't see the customer", async () => {
  const second = await open();
  try {
    await signIn(page);
    await signIn(second, { name: "Lee" });
    await customer(second).waitFor();
    // Both know of the customer; the list of the second is held as it is, while the first answers.
    await second.routeWebSocket(/.*/, () => undefined);
    await second.evaluate(() => {
      for (let timer = window.setTimeout(() => {}); timer > 0; timer--) window.clearTimeout(timer);
      window.setTimeout = () => 0;
    });
    await answer(page);
    await customer(second).click();
    await problem(second, "Another agent has this call");
    assert.equal(await second.locator("#remote").evaluate((v) => v.srcObject), null);
    await pictureMoves(page);
  } finally {
    await second.context().close();
  }
});

test("of two agents who answer in the same moment, one has the call and the other is told so", async () => {
  const second = await open();
  try {
    await Promise.all([signIn(page), signIn(second, { name: "Lee" })]);
    await Promise.all([customer(page).waitFor(), customer(second).waitFor()]);
    // Playwright's clicks come one after the other; the pages' own clock brings them together.
    const at = Date.now() + 300;
    const click = (on) => customer(on).evaluate((e, when) => void setTimeout(() => e.click(), when - Date.now()), at);
    await Promise.all([click(page), click(second)]);
    const told = (on) => on.getByText("Another agent has this call").isVisible();
    await until("one of them is told", async () => (await told(page)) || (await told(second)));
    const [winner, loser] = (await told(page)) ? [second, page] : [page, second];
    await cover(winner).waitFor({ state: "hidden" });
    await pictureMoves(winner);
    assert.equal(await told(winner), false);
    assert.equal(await loser.locator("#remote").evaluate((v) => v.srcObject), null);
  } finally {
    await second.context().close();
  }
});

test("a cut of the signalling line is shown and mended, and the media flow on", async () => {
  await signIn(page, { server: cuttable });
  await answer(page);
  const start = await framesShown(page);
  line.cut();
  await page.getByText("Server lost – reconnecting…").waitFor();
  await pictureMoves(page);
  line.mend();
  await page.getByText("Connected", { exact: true }).waitFor();
  await pictureMoves(page);
  assert.ok((await framesShown(page)) > start, "the picture was not begun anew");
  assert.equal(await cover(page).isHidden(), true);
});

test("a kiosk that changed while the line was cut is found again", async () => {
  await signIn(page, { server: cuttable });
  await answer(page);
  line.cut();
  const from = kiosk.events.length;
  kiosk.say("leave");
  kiosk.say("join");
  await kiosk.next("joined", { from });
  line.mend();
  await cover(page).waitFor({ state: "hidden" });
  await pictureMoves(page);
});

test("a call is built anew when Janus was killed", async () => {
  await signIn(page);
  await answer(page);
  await janus.kill();
  await page.getByText("Server lost – reconnecting…").waitFor();
  await janus.start();
  await page.getByText("Connected", { exact: true }).waitFor();
  await cover(page).waitFor({ state: "hidden" });
  await pictureMoves(page);
  await statement(page).filter({ hasText: "TCP only – both legs" }).waitFor();
});

test("everything can be done by keyboard, and the focus is never lost to a screen that is gone", async () => {
  await page.goto(site + fragment({ server: DIRECT, name: "Kim", token: API_TOKEN, room_token: ROOM_TOKEN }));
  await page.getByLabel("Access key").focus();
  await page.keyboard.press("Enter");
  await customer(page).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "waiting-title");
  await page.keyboard.press("Tab");
  assert.equal(await customer(page).evaluate((e) => e === document.activeElement), true);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Branch 12, Gangnam" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "call-site");
});

test("nothing is cut off at the sizes that agents have", async () => {
  await signIn(page);
  await answer(page);
  for (const size of [{ width: 1280, height: 720 }, { width: 1920, height: 1080 }]) {
    await page.setViewportSize(size);
    for (const id of ["#end", "#mute", "#camera", "#verdict", "#remote", "#self"]) {
      const box = await page.locator(id).boundingBox();
      assert.ok(box.x >= 0 && box.y >= 0 && box.x + box.width <= size.width && box.y + box.height <= size.height, id);
    }
    const scrolls = await page.evaluate(() => document.documentElement.scrollHeight > window.innerHeight);
    assert.equal(scrolls, false);
  }
});

test("the room is the one that was asked for", async () => {
  await signIn(page);
  assert.equal(await customer(page).getAttribute("data-room"), String(ROOM));
});
