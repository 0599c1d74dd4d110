/** The bar under the header that says what went wrong and what to do. */
import type { Problem } from "../problems.ts";
import { el, say } from "./dom.ts";

const bar = el("problem", HTMLDivElement);

export function showProblem({ title, remedy }: Problem): void {
  say(el("problem-title", HTMLElement), title);
  say(el("problem-remedy", HTMLElement), remedy);
  bar.hidden = false;
}

export function clearProblem(): void {
  bar.hidden = true;
}

el("problem-close", HTMLButtonElement).onclick = clearProblem;
