/** The kiosk's side of a call, in a page: 1280x720 at 30 frames/s, H.264 at 1 Mb/s, two-way. */
import { displayName } from "../../src/access.ts";
import { Call } from "../../src/call.ts";
import { Janus } from "../../src/janus.ts";

const settings = new URLSearchParams(location.hash.slice(1));
const media = await navigator.mediaDevices.getUserMedia({
  video: { width: { exact: 1280 }, height: { exact: 720 }, frameRate: { ideal: 30 } },
  audio: true,
});
const janus = await Janus.connect(settings.get("server") ?? "", settings.get("token") ?? undefined);
const call = new Call(janus, {
  room: Number(settings.get("room")),
  roomToken: settings.get("room_token") ?? undefined,
  pin: settings.get("pin") ?? undefined,
  display: displayName("kiosk", settings.get("id") ?? "test"),
  peer: settings.get("peer") ?? "agent/",
  media,
  maxBitrate: 1_000_000,
  // The figures compare equal pictures: the size must hold, whatever the estimate of the first seconds says.
  degradation: "maintain-resolution",
});
const remote = document.querySelector("video") as HTMLVideoElement;
call.onRemote = (stream) => (remote.srcObject = stream ?? null);
call.onEnded = (error) => reportError(error);
janus.onLink = (state, error) => {
  if (state === "resumed") call.resumed();
  if (state === "restarted") call.restarted();
  if (state === "refused") reportError(error);
};
window.onpagehide = () => janus.close();
await call.start();
