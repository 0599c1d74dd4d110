/**
 * The codes by which the link benchmark sees when picture and sound were captured: in form and clock those of
 * proto/src/timecode, which says what they mean.
 */

/** Not in TypeScript's library. */
interface Generator<T> extends MediaStreamTrack {
  readonly writable: WritableStream<T>;
}
declare const MediaStreamTrackProcessor: new (init: { track: MediaStreamTrack }) => { readable: ReadableStream<VideoFrame> };
declare const MediaStreamTrackGenerator: new <T>(init: { kind: "audio" | "video" }) => Generator<T>;
declare const AudioData: new (init: {
  format: "s16";
  sampleRate: number;
  numberOfFrames: number;
  numberOfChannels: number;
  timestamp: number;
  data: Int16Array<ArrayBuffer>;
}) => unknown;
declare global {
  interface Window {
    /** CLOCK_MONOTONIC of the machine, milliseconds, as the driver reads it. */
    driverClock?: () => Promise<number>;
  }
}

const CELLS = 40;
const TIME = { bits: 20, check: 5, polynomial: 0b10_0101, flip: 0b1_0101 };
const INDEX = { bits: 11, check: 4, polynomial: 0b1_0011, flip: 0b1010 };
const NO_INDEX = (1 << INDEX.bits) - 1;
const LUMA = [32, 224];
const PERIOD_US = 125_000;
const TONE_US = 50_000;
const RAMP_US = 2_000;
const AMPLITUDE = 7_000;
const GROUP = 12;
const RATE = 48_000;
/** 10 ms, what a sender takes at once. */
const BLOCK = 480;
const SLIP_US = 15_000;

/** Finds out by how much the machine's clock is ahead of the page's: from the quickest of some questions. */
export async function machineClock(): Promise<() => number> {
  let best = { took: Infinity, ahead: 0 };
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const asked = performance.now();
    const clock = await window.driverClock?.();
    const took = performance.now() - asked;
    if (clock === undefined) throw new Error("the driver tells no clock");
    if (took < best.took) best = { took, ahead: clock - asked - took / 2 };
  }
  return () => performance.now() + best.ahead;
}

type Part = typeof TIME;

function remainder(value: number, part: Part): number {
  let rest = value * 2 ** part.check;
  for (let bit = part.bits + part.check - 1; bit >= part.check; bit -= 1) {
    if ((rest >>> bit) & 1) rest ^= part.polynomial << (bit - part.check);
  }
  return rest ^ part.flip;
}

function digits(value: number, count: number): number[] {
  return Array.from({ length: count }, (_, bit) => (value >>> (count - 1 - bit)) & 1);
}

function part(value: number, kind: Part): number[] {
  return [...digits(value, kind.bits), ...digits(remainder(value, kind), kind.check)];
}

/** The number of the recording's frame, which its strip carries. */
function readIndex(luma: Uint8Array, stride: number, width: number, height: number): number {
  const strip = Math.max(2, Math.floor(height / 45));
  const row = (height - Math.ceil(strip / 2)) * stride;
  const first = TIME.bits + TIME.check;
  let index = 0;
  for (let cell = first; cell < first + INDEX.bits; cell += 1) {
    index = index * 2 + ((luma[row + Math.floor(((cell + 0.5) * width) / CELLS)] ?? 0) > 128 ? 1 : 0);
  }
  return index;
}

function stamp(luma: Uint8Array, stride: number, width: number, height: number, bits: readonly number[]): void {
  const strip = Math.max(2, Math.floor(height / 45));
  for (let row = height - strip; row < height; row += 1) {
    bits.forEach((bit, cell) => {
      const [left, right] = [Math.floor((cell * width) / CELLS), Math.floor(((cell + 1) * width) / CELLS)];
      luma.fill(LUMA[bit] ?? 0, row * stride + left, row * stride + right);
    });
  }
}

/** The camera's track, each picture with the time at which it came. */
export function coded(camera: MediaStreamTrack, clock: () => number): MediaStreamTrack {
  const out = new MediaStreamTrackGenerator<VideoFrame>({ kind: "video" });
  const transform = new TransformStream<VideoFrame, VideoFrame>({
    async transform(frame, controller) {
      const captured = Math.floor(clock()) % 2 ** TIME.bits;
      const rect = frame.visibleRect ?? new DOMRectReadOnly(0, 0, frame.codedWidth, frame.codedHeight);
      const data = new Uint8Array(frame.allocationSize());
      const [plane] = await frame.copyTo(data);
      const { timestamp, format } = frame;
      frame.close();
      if (plane === undefined || (format !== "I420" && format !== "NV12")) throw new Error(`pictures in ${format}`);
      const luma = data.subarray(plane.offset);
      const index = readIndex(luma, plane.stride, rect.width, rect.height);
      const bits = [...part(captured, TIME), ...part(Math.min(index, NO_INDEX), INDEX)];
      stamp(luma, plane.stride, rect.width, rect.height, bits);
      controller.enqueue(new VideoFrame(data, { format, codedWidth: rect.width, codedHeight: rect.height, timestamp }));
    },
  });
  void new MediaStreamTrackProcessor({ track: camera }).readable.pipeThrough(transform).pipeTo(out.writable);
  return out;
}

function sample(at: number): number {
  const since = at % PERIOD_US;
  const left = TONE_US - since;
  if (left <= 0) return 0;
  const number = Math.floor(at / PERIOD_US);
  const low = 500 + 75 * (Math.floor(number / GROUP) % GROUP);
  const high = 1700 + 110 * (number % GROUP);
  const envelope = Math.min(since / RAMP_US, left / RAMP_US, 1);
  const phase = (2 * Math.PI * since) / 1e6;
  return AMPLITUDE * envelope * (Math.sin(low * phase) + Math.sin(high * phase));
}

/** A microphone's track that hears the tones: the last sample of a block now. */
export function tones(clock: () => number): MediaStreamTrack {
  const out = new MediaStreamTrackGenerator<unknown>({ kind: "audio" });
  const writer = out.writable.getWriter();
  const length = (BLOCK * 1e6) / RATE;
  let next = 0;
  window.setInterval(() => {
    const now = clock() * 1000;
    if (Math.abs(now - length - next) > SLIP_US + length) next = now - length;
    for (; next + length <= now; next += length) {
      const data = Int16Array.from({ length: BLOCK }, (_, position) => sample(next + (position * 1e6) / RATE));
      const block = { format: "s16", sampleRate: RATE, numberOfFrames: BLOCK, numberOfChannels: 1 } as const;
      void writer.write(new AudioData({ ...block, timestamp: next, data }));
    }
  }, 5);
  return out;
}
