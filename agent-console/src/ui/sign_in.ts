/** The first screen: which server, who, and with which key. */
import { isReadableOnTheWay, readFragment, serverUrl, splitAccessKey, type Access } from "../access.ts";
import { el, say } from "./dom.ts";

const form = document.querySelector<HTMLFormElement>("#sign-in form") as HTMLFormElement;
const server = el("server", HTMLInputElement);
const name = el("name", HTMLInputElement);
const key = el("key", HTMLInputElement);
const submit = form.querySelector("button") as HTMLButtonElement;

/** Fills the form from the link that the page was opened by, and takes its secrets off the address bar at once. */
export function prefill(): void {
  if (location.hash === "") return;
  const values = readFragment(location.hash);
  history.replaceState(null, "", location.pathname + location.search);
  server.value = values.server;
  name.value = values.name;
  key.value = values.key;
  noteServer();
}

/** Calls back with what was entered, once it is complete; `busy` until the promise settles. */
export function onSignIn(signIn: (access: Access) => Promise<void>): void {
  form.onsubmit = (event) => {
    event.preventDefault();
    const access = read();
    if (access === undefined) return;
    submit.disabled = true;
    say(submit, "Signing in…");
    void signIn(access).finally(() => {
      submit.disabled = false;
      say(submit, "Sign in");
    });
  };
}

function read(): Access | undefined {
  const url = serverUrl(server.value);
  mark(server, url !== undefined);
  mark(name, name.value.trim() !== "");
  if (url === undefined) say(el("server-note", HTMLElement), "Enter an address such as wss://janus.bank.example:8989");
  const wrong = form.querySelector<HTMLInputElement>("[aria-invalid=true]");
  if (wrong !== null || url === undefined) {
    wrong?.focus();
    return undefined;
  }
  return { server: url.href, name: name.value.trim(), ...splitAccessKey(key.value) };
}

function mark(input: HTMLInputElement, valid: boolean): void {
  input.setAttribute("aria-invalid", String(!valid));
}

function noteServer(): void {
  const url = serverUrl(server.value);
  const readable = url !== undefined && isReadableOnTheWay(url);
  const note = el("server-note", HTMLElement);
  note.classList.toggle("warning", readable);
  say(note, readable ? "Not encrypted: use wss:// anywhere but on a test bench" : "");
}

server.oninput = noteServer;
// A second link in the same tab changes the fragment only.
window.addEventListener("hashchange", prefill);
