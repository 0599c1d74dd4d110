/** The second screen: who waits, longest first. */
import type { WaitingCustomer } from "../roster.ts";
import { clock, el, say } from "./dom.ts";

const list = el("customers", HTMLUListElement);
const TITLE = document.title;
let shown: readonly WaitingCustomer[] = [];

export function showWaiting(waiting: readonly WaitingCustomer[], answer: (customer: WaitingCustomer) => void): void {
  const rows = new Map([...list.children].map((row) => [(row as HTMLElement).dataset["key"], row as HTMLElement]));
  // Rows are kept: replacing them would take the keyboard focus away every second.
  const keys = new Set(waiting.map(keyOf));
  for (const [key, row] of rows) if (key === undefined || !keys.has(key)) row.remove();
  for (const customer of waiting) {
    if (!rows.has(keyOf(customer))) list.append(newRow(customer, answer));
  }
  shown = waiting;
  el("nobody", HTMLDivElement).hidden = waiting.length > 0;
  const count = waiting.length === 1 ? "1 customer is waiting" : `${waiting.length} customers are waiting`;
  say(el("waiting-count", HTMLElement), waiting.length === 0 ? "" : count);
  document.title = waiting.length === 0 ? TITLE : `(${waiting.length}) ${TITLE}`;
  tick();
}

/** While a call is being set up, nobody can be answered. */
export function lockWaiting(locked: boolean): void {
  for (const button of list.querySelectorAll("button")) button.disabled = locked;
}

function keyOf({ room, kiosk }: WaitingCustomer): string {
  return `${room} ${kiosk}`;
}

function newRow(customer: WaitingCustomer, answer: (customer: WaitingCustomer) => void): HTMLLIElement {
  const row = document.createElement("li");
  row.dataset["key"] = keyOf(customer);
  const site = document.createElement("strong");
  site.textContent = customer.site === "" ? `Room ${customer.room}` : customer.site;
  const kiosk = document.createElement("span");
  kiosk.className = "muted";
  kiosk.textContent = `Kiosk ${customer.kiosk}`;
  const place = document.createElement("div");
  place.className = "place";
  place.append(site, kiosk);
  const time = document.createElement("span");
  time.className = "time";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "primary";
  button.dataset["room"] = String(customer.room);
  button.textContent = "Answer";
  button.setAttribute("aria-label", `Answer ${site.textContent}, kiosk ${customer.kiosk}`);
  button.onclick = () => answer(customer);
  row.append(place, time, button);
  return row;
}

function tick(): void {
  for (const customer of shown) {
    const row = [...list.children].find((r) => (r as HTMLElement).dataset["key"] === keyOf(customer));
    const time = row?.querySelector<HTMLElement>(".time");
    if (time) say(time, `Waiting ${clock(Date.now() - customer.since)}`);
  }
}

window.setInterval(tick, 1_000);
