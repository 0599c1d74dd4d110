/** What the videoroom plugin tells about rooms and who is in them, read into types. Pure. */
import type { Json } from "./janus.ts";

/** A participant that publishes. `id` is what one subscribes to. */
export interface Feed {
  readonly id: number;
  readonly display: string;
}

export interface Room {
  readonly id: number;
  readonly description: string;
  readonly participants: number;
  readonly pinRequired: boolean;
}

export interface Participant extends Feed {
  readonly publishes: boolean;
}

function objects(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter((v): v is Json => typeof v === "object" && v !== null) : [];
}

/** The `publishers` of a `joined` or `event` message. */
export function feeds(data: Json): Feed[] {
  return objects(data["publishers"]).flatMap(({ id, display }) =>
    typeof id === "number" && typeof display === "string" ? [{ id, display }] : [],
  );
}

/** The feed that an event says has ended, if it says so. "ok" stands for one's own. */
export function endedFeed(data: Json): number | undefined {
  const id = data["unpublished"] ?? data["leaving"] ?? data["kicked"];
  return typeof id === "number" ? id : undefined;
}

/** Whom to subscribe to, by all that the room has told so far, in the order in which it told it. */
export class OtherSide {
  /** The newest feed of the other side that has not ended. A feed that is published again is another object. */
  feed: Feed | undefined;

  /** `peer`: how the other side's display begins. */
  constructor(private readonly peer: string) {}

  /** Somebody looked around: these are all who publish. */
  present(all: readonly Feed[]): void {
    this.feed = all.findLast((feed) => feed.display.startsWith(this.peer));
  }

  /** An event of the room; whether `feed` is another one now. */
  event(data: Json): boolean {
    const before = this.feed;
    const appeared = feeds(data).findLast((feed) => feed.display.startsWith(this.peer));
    if (appeared !== undefined) this.feed = appeared;
    else if (before !== undefined && endedFeed(data) === before.id) this.feed = undefined;
    return this.feed !== before;
  }
}

/** The rooms of a `list` answer. */
export function rooms(data: Json): Room[] {
  return objects(data["list"]).flatMap(({ room, description, num_participants, pin_required }) =>
    typeof room === "number"
      ? [{
          id: room,
          description: String(description ?? ""),
          participants: Number(num_participants ?? 0),
          pinRequired: pin_required === true,
        }]
      : [],
  );
}

/** The people of a `listparticipants` answer. */
export function participants(data: Json): Participant[] {
  return objects(data["participants"]).flatMap(({ id, display, publisher }) =>
    typeof id === "number" ? [{ id, display: String(display ?? ""), publishes: publisher === true }] : [],
  );
}
