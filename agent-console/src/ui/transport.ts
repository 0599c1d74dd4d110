/** The panel that says by which transport the media travel, and how much of them arrives. */
import { kilobits, verdict, type Endpoint, type LegFigures } from "../stats.ts";
import { el, say } from "./dom.ts";

export interface Legs {
  readonly subscribe: LegFigures | undefined;
  readonly publish: LegFigures | undefined;
}

const WORDS = {
  tcp: "TCP only – both legs",
  connecting: "Waiting for both legs",
  violated: "NOT TCP ONLY – end this call and tell your administrator",
} as const;

const ROWS: readonly [string, (now: LegFigures, before: LegFigures | undefined) => string][] = [
  ["Protocol", (n) => (n.local && n.remote ? `${n.local.protocol} / ${n.remote.protocol}`.toUpperCase() : "–")],
  ["This end", (n) => end(n.local, "dialled")],
  ["Server", (n) => end(n.remote, "accepted")],
  ["Round trip", (n) => (n.roundTripMs === undefined ? "–" : `${n.roundTripMs} ms`)],
  ["Picture", (n) => (n.width && n.height ? `${n.width} × ${n.height}` : "–")],
  ["Frames", (n) => (n.framesPerSecond === undefined ? "–" : `${Math.round(n.framesPerSecond)} /s`)],
  ["Bitrate", (n, b) => rate(kilobits(n, b))],
  ["Codec", (n) => n.codec ?? "–"],
];

const cells = ROWS.map(([label]) => {
  const row = el("figures", HTMLTableSectionElement).insertRow();
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = label;
  row.append(head);
  return { subscribe: row.insertCell(), publish: row.insertCell() };
});

export function showTransport(now: Legs, before: Legs): void {
  const words = verdict([now.subscribe, now.publish]);
  const statement = el("verdict", HTMLElement);
  statement.dataset["verdict"] = words;
  say(statement, WORDS[words]);
  ROWS.forEach(([, figure], i) => {
    for (const leg of ["subscribe", "publish"] as const) {
      const cell = cells[i]?.[leg];
      const figures = now[leg];
      if (cell) say(cell, figures === undefined ? "–" : figure(figures, before[leg]));
    }
  });
}

/** What stands for the port of an active candidate that has not dialled (RFC 6544 section 4.5). */
const DISCARD_PORT = 9;

function end(endpoint: Endpoint | undefined, how: string): string {
  if (endpoint === undefined) return "–";
  const port = endpoint.port > DISCARD_PORT ? `:${endpoint.port}` : "";
  return `${endpoint.tcptype ?? how} ${port}`;
}

function rate(value: number | undefined): string {
  if (value === undefined) return "–";
  return value >= 1000 ? `${(value / 1000).toFixed(1)} Mb/s` : `${value} kb/s`;
}
