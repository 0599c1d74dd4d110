/** The few things that every screen does with the document. */

/** The element with this id, as what it is; the page is ours, so a miss is a mistake in it. */
export function el<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/** Sets text only where it differs, so that screen readers don't repeat what has not changed. */
export function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export type Screen = "sign-in" | "waiting" | "call";

/** Shows one screen, and moves the focus to its heading. */
export function show(screen: Screen): void {
  for (const main of document.querySelectorAll("main")) main.hidden = main.id !== screen;
  document.body.dataset["screen"] = screen;
  document.querySelector<HTMLElement>(`#${screen} h1`)?.focus();
}

/** `m:ss` or `h:mm:ss` */
export function clock(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (n: number) => String(n).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
