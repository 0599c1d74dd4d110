/**
 * Runs in the page before its own scripts, and looks at its peer connections from outside: what the drivers
 * report is the browser's word, not the page's.
 */
(() => {
  const Original = window.RTCPeerConnection;
  const peers = new Set();
  const legOf = (peer) => (peer.getSenders().some((sender) => sender.track !== null) ? "publish" : "subscribe");
  const now = () => Math.round((performance.timeOrigin + performance.now()) * 10) / 10;
  const tell = (event, fields) => void window.driverTell?.(event, fields);

  window.RTCPeerConnection = class extends Original {
    constructor(...settings) {
      super(...settings);
      peers.add(this);
      this.addEventListener("connectionstatechange", () => {
        if (this.connectionState === "connected") {
          tell("connected", { leg: legOf(this), at_ms: now() });
          if (legOf(this) === "publish") tell("joined", { at_ms: now() });
        }
      });
      this.addEventListener("track", ({ track }) => track.kind === "video" && void awaitFrame(track));
    }
    close() {
      peers.delete(this);
      super.close();
    }
  };

  /** Reads one decoded frame from a copy of the track, then lets go of it. */
  async function awaitFrame(track) {
    const copy = track.clone();
    const reader = new MediaStreamTrackProcessor({ track: copy }).readable.getReader();
    const { value: frame } = await reader.read();
    if (frame !== undefined) {
      tell("first-frame", { at_ms: now(), width: frame.displayWidth, height: frame.displayHeight });
      frame.close();
    }
    await reader.cancel();
    copy.stop();
  }

  const end = (stat) =>
    stat && { protocol: stat.protocol, tcptype: stat.tcpType ?? null, address: stat.address ?? null, port: stat.port };

  /** One reading over all open connections; null while there are none. */
  window.driverStats = async () => {
    if (peers.size === 0) return null;
    const out = {
      at_ms: now(),
      frames_decoded: 0,
      frames_dropped: 0,
      frame_width: 0,
      frame_height: 0,
      frames_per_second: 0,
      video_bytes: 0,
      audio: { packets: 0, bytes: 0, level: 0, energy: 0 },
      sent: { frames: 0, width: 0, height: 0, frames_per_second: 0, video_bytes: 0, audio_bytes: 0, encoder: null },
      pairs: [],
    };
    for (const peer of peers) {
      const stats = await peer.getStats();
      for (const stat of stats.values()) {
        if (stat.type === "transport" && stat.selectedCandidatePairId !== undefined) {
          const pair = stats.get(stat.selectedCandidatePairId);
          const [local, remote] = [stats.get(pair?.localCandidateId), stats.get(pair?.remoteCandidateId)];
          if (local && remote) out.pairs.push({ leg: legOf(peer), local: end(local), remote: end(remote) });
        } else if (stat.type === "inbound-rtp" && stat.kind === "video") {
          out.frames_decoded = stat.framesDecoded ?? 0;
          out.frames_dropped = stat.framesDropped ?? 0;
          out.frame_width = stat.frameWidth ?? 0;
          out.frame_height = stat.frameHeight ?? 0;
          out.frames_per_second = stat.framesPerSecond ?? 0;
          out.video_bytes = stat.bytesReceived ?? 0;
        } else if (stat.type === "inbound-rtp" && stat.kind === "audio") {
          out.audio = {
            packets: stat.packetsReceived ?? 0,
            bytes: stat.bytesReceived ?? 0,
            level: stat.audioLevel ?? 0,
            energy: stat.totalAudioEnergy ?? 0,
          };
        } else if (stat.type === "outbound-rtp" && stat.kind === "video") {
          out.sent.frames = stat.framesSent ?? 0;
          out.sent.width = stat.frameWidth ?? 0;
          out.sent.height = stat.frameHeight ?? 0;
          out.sent.frames_per_second = stat.framesPerSecond ?? 0;
          out.sent.video_bytes = stat.bytesSent ?? 0;
          out.sent.encoder = stat.encoderImplementation ?? null;
        } else if (stat.type === "outbound-rtp" && stat.kind === "audio") {
          out.sent.audio_bytes = stat.bytesSent ?? 0;
        }
      }
    }
    return out;
  };

  /** Ten times a second, what the other side's picture looks like: the luma of 16 by 9 fields, row by row, 0 to 255. */
  window.driverWatch = () => {
    const [width, height] = [16, 9];
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    const received = () => [...peers].flatMap((peer) => peer.getReceivers().map((receiver) => receiver.track));
    setInterval(() => {
      const tracks = new Set(received());
      const video = [...document.querySelectorAll("video")].find((element) =>
        element.srcObject?.getVideoTracks().some((track) => tracks.has(track)));
      if (video === undefined || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
      context.drawImage(video, 0, 0, width, height);
      const { data } = context.getImageData(0, 0, width, height);
      const luma = Array.from({ length: width * height }, (_, field) => {
        const [red, green, blue] = data.subarray(4 * field);
        return Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
      });
      tell("picture", { at_ms: now(), luma });
    }, 100);
  };

  // What the console's page says to its agent: its problems, who waits, and that a call is over.
  document.addEventListener("DOMContentLoaded", () => {
    const problem = document.getElementById("problem");
    let [screen, said, waiting] = ["", "", ""];
    new MutationObserver(() => {
      const text = problem === null || problem.hidden ? "" : problem.firstElementChild.textContent.trim();
      if (text !== said && text !== "") tell("error", { message: text, at_ms: now() });
      said = text;
      const rooms = [...document.querySelectorAll("#customers button")].map((button) => Number(button.dataset.room));
      if (rooms.join() !== waiting) tell("customers", { rooms, at_ms: now() });
      waiting = rooms.join();
      const shown = document.body.dataset.screen ?? "";
      if (screen === "call" && shown !== "call") tell("left", { at_ms: now() });
      screen = shown;
    }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  });
})();
