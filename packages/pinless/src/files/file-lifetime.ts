/** What a File has of the system, and how long: until it's closed and nobody uses it any more, or until nobody has the File. */

import type { NodeHandle, OpenedFile } from "../ports/opened-file.js";
import type { Owner } from "../protocol/acceptance.js";
import type { Scheme } from "../protocol/scheme.js";
import type { Uses } from "./calls-in-flight.js";
import { Ways } from "./io-paths.js";
import type { Pause } from "./pause.js";
import { type TransferHost, Transfers } from "./transfers.js";

/** What a file needs of its engine. */
export interface FileHost extends TransferHost {
  readonly scheme: Scheme;
  /** Says in the engine's statistics why something isn't as it was asked for; each sentence once. */
  degraded(why: string): void;
  /** Files that aren't closed. */
  readonly files: Set<Held>;
  /** Whether a request would be accepted now, without overtaking one that waits. */
  hasRoom(): boolean;
  /** The calls that use arena memory. */
  readonly uses: Uses;
  /** Whether a submission would overtake somebody who waits. */
  isBarred(): boolean;
  /** Accepts a submission that can't take the hot path, or answers false: busy. `shut`: it will have to wait for memory. */
  beginIndirect(shut: boolean): boolean;
  endIndirect(): void;
  /** Told while such a submission waits for memory. */
  readonly pause: Pause;
  /** Hands an error that nobody catches to the host. */
  uncaught(error: unknown): void;
}

/** Whoever holds it. */
interface Closable {
  close(): Promise<void>;
}

const dropped = new FinalizationRegistry<Held>((held) => held.drop());

export class Held {
  readonly #host: FileHost;
  readonly opened: OpenedFile;
  readonly owner: Owner;
  readonly ways: Ways;
  readonly transfers: Transfers;
  #file: WeakRef<Closable> | null = null;
  /** Streams that are open on it: as with a FileHandle they keep it, and the one who closes it waits for them. */
  #users = 0;
  #isOpen = true;
  #forced = false;
  #closing: Promise<void> | null = null;
  #unused: (() => void) | null = null;

  constructor(host: FileHost, opened: OpenedFile) {
    this.#host = host;
    this.opened = opened;
    this.ways = new Ways(host, opened);
    const turn = (go: () => void): void => this.transfers.turn(go);
    this.owner = { active: 0, directWrites: 0, quiet: null, instead: this.ways, turn };
    this.transfers = new Transfers(host, opened, this.owner, this.ways);
    host.files.add(this);
  }

  get handle(): NodeHandle {
    return this.opened.handle;
  }

  /** Whether calls are accepted. While somebody uses it they are, also when it's closing. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  get isClosing(): boolean {
    return this.#closing !== null;
  }

  /** Whether not even a stream may begin what could go on for ever. */
  get isEnding(): boolean {
    return this.#forced;
  }

  /** This one holds it; should nobody have that one any more without having closed it, it's closed. */
  belongTo(file: Closable): void {
    this.#file = new WeakRef(file);
    if (this.opened.dropped !== undefined) dropped.register(file, this);
  }

  keep(): void {
    this.#users++;
  }

  leave(): void {
    this.#users--;
    this.#look();
  }

  /** Resolves once everything is given back. */
  close(): Promise<void> {
    this.transfers.cancel(this.#forced);
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** The engine closes: what streams wait for ends too, where it may never end by itself. */
  end(): Promise<void> {
    this.#forced = true;
    return (this.#file?.deref() ?? this).close();
  }

  /** Nobody has the File, so nobody has its streams either. */
  drop(): void {
    if (this.isClosing) return;
    this.#users = 0;
    this.opened.dropped?.(this.close());
  }

  async #close(): Promise<void> {
    const unused = new Promise<void>((resolve) => {
      this.#unused = resolve;
    });
    this.#look();
    await unused;
    this.transfers.leave();
    this.ways.close();
    const directClosed = this.opened.closeDirect();
    this.#host.files.delete(this);
    const ends = await Promise.allSettled([directClosed, this.handle.close()]);
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  #look(): void {
    if (this.#unused !== null && this.#users === 0) this.transfers.whenIdle(this.#idle);
  }

  readonly #idle = (): void => {
    if (this.#users > 0) return;
    this.#isOpen = false;
    this.#unused?.();
  };
}
