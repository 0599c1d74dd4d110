/** Asks for a room's PIN, where the room wants one besides the agent's key. */
import type { WaitingCustomer } from "../roster.ts";
import { el, say } from "./dom.ts";

const dialog = el("pin-dialog", HTMLDialogElement);
const form = dialog.querySelector<HTMLFormElement>("form") as HTMLFormElement;
const input = el("pin", HTMLInputElement);

/** What was entered; undefined if the agent thought better of it. */
export function askPin(customer: WaitingCustomer): Promise<string | undefined> {
  say(el("pin-site", HTMLElement), customer.site === "" ? `Room ${customer.room}` : customer.site);
  input.value = "";
  return new Promise((resolve) => {
    const close = (pin: string | undefined) => {
      dialog.onclose = null;
      input.value = "";
      dialog.close();
      resolve(pin);
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      if (input.value === "") input.focus();
      else close(input.value);
    };
    el("pin-cancel", HTMLButtonElement).onclick = () => close(undefined);
    // The Escape key.
    dialog.onclose = () => close(undefined);
    dialog.showModal();
    input.focus();
  });
}
