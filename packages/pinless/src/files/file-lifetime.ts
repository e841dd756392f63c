/** Lifetime of what a File owns: until it's closed and unused, or until the File is garbage-collected. */

import type { Closer, NodeHandle, OpenedFile } from "../ports/opened-file.js";
import type { Owner } from "../protocol/acceptance.js";
import type { FileHost } from "./file-host.js";
import { FileLocks } from "./file-locks.js";
import { IoPaths } from "./io-paths.js";
import type { UsualHow } from "./request-options.js";
import { Transfers } from "./transfers.js";

/** The File that owns this lifetime. */
interface Closable {
  close(): Promise<void>;
}

const dropped = new FinalizationRegistry<FileLifetime>((held) => held.drop());

export class FileLifetime {
  readonly #host: FileHost;
  readonly opened: OpenedFile;
  readonly owner: Owner;
  readonly paths: IoPaths;
  readonly transfers: Transfers;
  readonly locks: FileLocks;
  /** Options of requests that name none. */
  readonly usual: UsualHow;
  #file: WeakRef<Closable> | null = null;
  /** Open streams. As with a FileHandle they keep the file open, and `close()` waits for them. */
  #users = 0;
  #isOpen = true;
  #forced = false;
  #closing: Promise<void> | null = null;
  #unused: (() => void) | null = null;
  #closer: Closer = "engine";

  constructor(host: FileHost, opened: OpenedFile, usual: UsualHow) {
    this.#host = host;
    this.opened = opened;
    this.usual = usual;
    this.paths = new IoPaths(host, opened);
    const enter = (go: () => void): void => this.transfers.writeOrder.whenDirectWritable(go);
    this.owner = { active: 0, directWrites: 0, becameIdle: null, fallback: this.paths, enter };
    this.transfers = new Transfers(host, opened, this.owner, this.paths);
    this.locks = new FileLocks(host, this);
    host.files.add(this);
  }

  get handle(): NodeHandle {
    return this.opened.handle;
  }

  /** True while calls are accepted: also while the file is closing, as long as a stream uses it. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Number of the device that the file is on, as text. */
  get device(): string {
    return this.opened.identity.split(":")[0]!;
  }

  get isClosing(): boolean {
    return this.#closing !== null;
  }

  /** True once the engine closes: from then on a stream's calls that may never end are refused too. */
  get isEnding(): boolean {
    return this.#forced;
  }

  /** Names the File that owns this. If it's garbage-collected without having been closed, the file is closed. */
  setFile(file: Closable): void {
    this.#file = new WeakRef(file);
    if (this.opened.dropped !== undefined) dropped.register(file, this);
  }

  /** Notes that the File's engine isn't the program's and stays open as long as the File. */
  leaveToProgram(): void {
    this.#closer = "program";
  }

  keep(): void {
    this.#users++;
  }

  leave(): void {
    this.#users--;
    this.#look();
  }

  /** Closes the file; resolves once every resource is released. */
  close(): Promise<void> {
    this.transfers.cancel(this.#forced);
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Closes the file with its engine: calls of streams that may never end are cancelled too. */
  end(): Promise<void> {
    this.#forced = true;
    return (this.#file?.deref() ?? this).close();
  }

  /** Closes a file whose File was garbage-collected; its streams were too, since they refer to it. */
  drop(): void {
    if (this.isClosing) return;
    this.#users = 0;
    this.opened.dropped?.(this.close(), this.#closer);
  }

  async #close(): Promise<void> {
    const unused = new Promise<void>((resolve) => {
      this.#unused = resolve;
    });
    this.#look();
    await unused;
    this.transfers.leave();
    this.paths.close();
    const directClosed = this.opened.closeDirect();
    this.#host.files.delete(this);
    const ends = await Promise.allSettled([directClosed, this.locks.end().finally(() => this.handle.close())]);
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
