/** What an agent signs in with, read from the form or from the URL fragment of a link. Pure. */

export interface Access {
  readonly server: string;
  readonly name: string;
  /** Janus API token, sent in every request; undefined where the server needs none. */
  readonly token: string | undefined;
  /** Videoroom token, sent when a room is joined; undefined where rooms need none. */
  readonly roomToken: string | undefined;
}

/** One field holds both tokens. Janus's signed tokens say what they are for: `expiry,realm,...:signature`. */
export function splitAccessKey(key: string): Pick<Access, "token" | "roomToken"> {
  let token: string | undefined;
  let roomToken: string | undefined;
  for (const word of key.split(/\s+/).filter((w) => w !== "")) {
    if (/^\d+,janus\.plugin\.videoroom[,:]/.test(word)) roomToken = word;
    else if (token === undefined) token = word;
    else roomToken = word;
  }
  return { token, roomToken };
}

/** When a signed token ends, in milliseconds since the epoch; undefined if it isn't a signed token. */
export function tokenExpiry(token: string | undefined): number | undefined {
  const seconds = token === undefined ? undefined : /^(\d+),[^:]+:/.exec(token)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

/** Values from `#server=...&name=...&token=...&room_token=...`. */
export function readFragment(hash: string): { server: string; name: string; key: string } {
  // A "+" is meant literally: it is part of base64, and tokens get pasted into links unescaped.
  const values = new URLSearchParams(hash.replace(/^#/, "").replaceAll("+", "%2B"));
  const tokens = [values.get("token"), values.get("room_token")].filter((t) => t !== null && t !== "");
  return { server: values.get("server") ?? "", name: values.get("name") ?? "", key: tokens.join(" ") };
}

/** The address of the server as entered: `wss://` is assumed; only WebSocket addresses without a user are taken. */
export function serverUrl(text: string): URL | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  let url: URL;
  try {
    url = new URL(/^[a-z]+:\/\//i.test(trimmed) ? trimmed : `wss://${trimmed}`);
  } catch {
    return undefined;
  }
  const web = url.protocol === "wss:" || url.protocol === "ws:";
  return web && url.username === "" && url.hash === "" ? url : undefined;
}

/** Whether what is said to this server can be read on the way: plain `ws://` to anything but this computer. */
export function isReadableOnTheWay(url: URL): boolean {
  return url.protocol === "ws:" && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
}

/** A display name in the room: one line, at most 60 characters, without what separates the role from the name. */
export function displayName(role: "agent" | "kiosk", name: string): string {
  return `${role}/${name.replace(/[\s/]+/g, " ").trim().slice(0, 60)}`;
}
