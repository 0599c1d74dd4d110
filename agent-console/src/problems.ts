/** Every failure that an agent can meet, in words that say what happened and what to do. Pure. */
import { tokenExpiry, type Access } from "./access.ts";
import { CodecMissing, NO_PORT, Taken } from "./call.ts";
import { JanusError } from "./janus.ts";

export interface Problem {
  readonly title: string;
  readonly remedy: string;
}

/** The problem behind an error, for an agent who signed in with `access` at time `now` (ms). */
export function problemOf(error: unknown, access: Access, now: number): Problem {
  if (error instanceof Taken) return TAKEN;
  if (error instanceof CodecMissing) {
    return {
      title: `This browser can’t send ${error.kind === "audio" ? "Opus audio" : "H.264 video"}`,
      remedy: "Use a current Chrome or Edge, or ask your administrator to allow its H.264 component.",
    };
  }
  if (error instanceof DOMException) return deviceProblem(error);
  if (error instanceof JanusError) return janusProblem(error, access, now);
  const remedy = `Reload the page. If it comes back, report: ${String(error)}`;
  return { title: "Something unexpected went wrong", remedy };
}

const TAKEN: Problem = {
  title: "Another agent has this call",
  remedy: "Take another customer. If nobody is talking to this one, wait half a minute and try again.",
};

function janusProblem({ code, reason }: JanusError, access: Access, now: number): Problem {
  switch (code) {
    case 0:
      return {
        title: `The server can’t be reached`,
        remedy:
          `No answer from ${access.server} (${reason}). Check the address and your network connection. ` +
          "If both are right, the server may be down, or its certificate isn’t trusted by this computer.",
      };
    case 403:
    case 405:
      return refused("The server refused your access key", access.token, now);
    case 433:
      return refused("Your access key or the PIN isn’t valid for this kiosk", access.roomToken, now);
    case 432:
      return TAKEN;
    case 426:
      return { title: "This kiosk’s room no longer exists", remedy: "Go back to the list and try again." };
    case NO_PORT:
      return {
        title: "The server has no free connection",
        remedy: "Try again in a minute. If it comes back, tell your administrator: its range of media ports is used up.",
      };
    case 472:
      return { title: "The server is being shut down", remedy: "Try again in a few minutes." };
    default:
      return {
        title: "The server reported an error",
        remedy: `Try again. If it comes back, tell your administrator: Janus ${code}, ${reason}`,
      };
  }
}

function refused(title: string, token: string | undefined, now: number): Problem {
  const expiry = tokenExpiry(token);
  if (token === undefined) {
    return { title, remedy: "The server needs an access key. Ask your administrator for one and enter it here." };
  }
  if (expiry !== undefined && expiry < now) {
    const when = new Date(expiry).toLocaleString("en-GB", { dateStyle: "long", timeStyle: "short" });
    return { title, remedy: `It expired on ${when}. Ask your administrator for a new one.` };
  }
  return { title, remedy: "Check that it was copied completely, or ask your administrator for a new one." };
}

function deviceProblem(error: DOMException): Problem {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return {
        title: "Camera and microphone are blocked",
        remedy: "Allow both for this page: click the icon to the left of the address, then try again.",
      };
    case "NotFoundError":
    case "OverconstrainedError":
      return {
        title: "No camera or microphone was found",
        remedy: "Plug in a camera and a headset, then try again.",
      };
    case "NotReadableError":
    case "AbortError":
      return {
        title: "The camera or microphone is in use",
        remedy: "Close other programs that use them, then try again.",
      };
    default:
      return { title: "Camera or microphone failed", remedy: `Plug them in again and retry (${error.message}).` };
  }
}

/** getUserMedia doesn't exist outside of a secure context; said before anything else is tried. */
export const INSECURE_PAGE: Problem = {
  title: "This page was opened without encryption",
  remedy: "Browsers give camera and microphone only to pages opened by https:// (or on this computer itself).",
};
