/** The kiosk's side of a call, in a page: 1280x720 at 30 frames/s, H.264 at 1 Mb/s, two-way. Settings can say otherwise. */
import { displayName } from "../../src/access.ts";
import { Call } from "../../src/call.ts";
import { Janus } from "../../src/janus.ts";
import { coded, machineClock, tones } from "./timecode.ts";

const settings = new URLSearchParams(location.hash.slice(1));
const measured = settings.has("time_code");
const [width = 1280, height = 720] = (settings.get("size") ?? "1280x720").split("x").map(Number);
const camera = await navigator.mediaDevices.getUserMedia({
  video: { width: { exact: width }, height: { exact: height }, frameRate: { ideal: 30 } },
  audio: true,
});
const media = measured ? await withCodes(camera) : camera;
const janus = await Janus.connect(settings.get("server") ?? "", settings.get("token") ?? undefined);
const call = new Call(janus, {
  room: Number(settings.get("room")),
  roomToken: settings.get("room_token") ?? undefined,
  pin: settings.get("pin") ?? undefined,
  display: displayName("kiosk", settings.get("id") ?? "test"),
  peer: settings.get("peer") ?? "agent/",
  media,
  maxBitrate: Number(settings.get("bitrate") ?? 1_000_000),
  // Where the figures compare equal pictures the size must hold, whatever the estimate of the first seconds says.
  degradation: measured ? "balanced" : "maintain-resolution",
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

/** The camera's pictures with time codes, and tones in place of its sound. */
async function withCodes(from: MediaStream): Promise<MediaStream> {
  const clock = await machineClock();
  const [video] = from.getVideoTracks();
  if (video === undefined) throw new Error("no camera");
  return new MediaStream([coded(video, clock), tones(clock)]);
}
