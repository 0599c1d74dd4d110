/** The kiosks where a customer waits: polled from the server, because Janus tells nobody outside of a room. */
import { JanusError, type Handle } from "./janus.ts";
import { participants, rooms, type Participant, type Room } from "./room.ts";

export interface WaitingCustomer {
  readonly room: number;
  readonly site: string;
  readonly kiosk: string;
  /** When this console first saw the customer, in milliseconds since the epoch. */
  readonly since: number;
  readonly pinRequired: boolean;
}

const POLL_MS = 1_000;

/**
 * The customer who waits in a room: a kiosk publishes there and no agent does. Pure. An agent who is in the room
 * without media doesn't count: that is what a crashed console leaves, until the server forgets its session.
 */
export function waitingIn(
  room: Room,
  people: readonly Participant[],
  known: readonly WaitingCustomer[],
  now: number,
): WaitingCustomer | undefined {
  if (people.some((p) => p.publishes && p.display.startsWith("agent/"))) return undefined;
  const kiosk = people.find((p) => p.publishes && p.display.startsWith("kiosk/"))?.display.slice("kiosk/".length);
  if (kiosk === undefined) return undefined;
  const before = known.find((w) => w.room === room.id && w.kiosk === kiosk);
  const { id, description: site, pinRequired } = room;
  return { room: id, site, kiosk, since: before?.since ?? now, pinRequired };
}

/** Polls while it runs, and tells each round's outcome. */
export class Roster {
  #known: readonly WaitingCustomer[] = [];
  #timer = 0;
  #stopped = false;

  constructor(
    private readonly handle: Handle,
    private readonly onChange: (waiting: readonly WaitingCustomer[]) => void,
    private readonly onError: (error: JanusError) => void,
  ) {
    void this.#poll();
  }

  /** Ends the polling, and gives the handle back: Janus keeps a thread for each. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    window.clearTimeout(this.#timer);
    void this.handle.detach();
  }

  async #poll(): Promise<void> {
    try {
      const found = await this.#look();
      if (this.#stopped) return;
      this.#known = found;
      this.onChange(found);
    } catch (error) {
      if (!(error instanceof JanusError)) throw error;
      if (this.#stopped) return;
      this.onError(error);
    }
    this.#timer = window.setTimeout(() => void this.#poll(), POLL_MS);
  }

  async #look(): Promise<readonly WaitingCustomer[]> {
    const list = rooms((await this.handle.message({ request: "list" })).data).filter((r) => r.participants > 0);
    const found = await Promise.all(
      list.map(async (room) => {
        const answer = await this.handle.message({ request: "listparticipants", room: room.id });
        return waitingIn(room, participants(answer.data), this.#known, Date.now());
      }),
    );
    return found.filter((w) => w !== undefined).sort((a, b) => a.since - b.since);
  }
}
