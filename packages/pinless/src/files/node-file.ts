/** What of a FileHandle isn't a transfer: Node's own, on the descriptor that goes through the page cache. */

import { EventEmitter } from "node:events";
import type { BigIntStats, StatOptions, Stats } from "node:fs";
import type { NodeHandle } from "../host.js";
import type { Held } from "./file-lifetime.js";
import { naming } from "./node-errors.js";

/** Emits "close", as a FileHandle does, when `close()` is called. */
export class NodeFile extends EventEmitter {
  protected readonly held: Held;

  constructor(held: Held) {
    super();
    this.held = held;
    held.belongTo(this);
  }

  protected get isOpen(): boolean {
    return this.held.isOpen;
  }

  /** The descriptor that goes through the page cache, for APIs that take one. -1 once it's closed. */
  get fd(): number {
    return this.isOpen ? this.held.handle.fd : -1;
  }

  /** As FileHandle's: the options and results are Node's own. */
  stat(options?: StatOptions & { bigint?: false | undefined }): Promise<Stats>;
  stat(options: StatOptions & { bigint: true }): Promise<BigIntStats>;
  stat(options?: StatOptions): Promise<Stats | BigIntStats>;
  async stat(options?: StatOptions): Promise<Stats | BigIntStats> {
    return (await this.#call("fstat", (handle) => handle.stat(options))) as Stats | BigIntStats;
  }

  async truncate(length?: number): Promise<void> {
    await this.#call("ftruncate", (handle) => handle.truncate(length));
  }

  async sync(): Promise<void> {
    await this.#call("fsync", (handle) => handle.sync());
  }

  async datasync(): Promise<void> {
    await this.#call("fdatasync", (handle) => handle.datasync());
  }

  async chmod(mode: string | number): Promise<void> {
    await this.#call("fchmod", (handle) => handle.chmod(mode));
  }

  async chown(uid: number, gid: number): Promise<void> {
    await this.#call("fchown", (handle) => handle.chown(uid, gid));
  }

  async utimes(atime: string | number | Date, mtime: string | number | Date): Promise<void> {
    await this.#call("futimes", (handle) => handle.utimes(atime, mtime));
  }

  /**
   * As FileHandle's: streams that are open on it end first, and what they were given is written. Waits for I/O in flight; what may never
   * end by itself (on pipes, terminals, sockets) is ended with ECANCELED. Works without its object too: `const { close } = file`.
   */
  readonly close = (): Promise<void> => {
    const first = !this.held.isClosing;
    const closed = this.held.close();
    if (first) this.emit("close");
    return closed;
  };

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #call<T>(name: string, call: (handle: NodeHandle) => Promise<T>): Promise<T> {
    this.assertOpen(name);
    return naming(call(this.held.handle));
  }

  protected assertOpen(syscall: string): void {
    if (!this.isOpen) throw this.closedError(syscall);
  }

  protected closedError(syscall: string): Error {
    return Object.assign(new Error("file closed"), { code: "EBADF", syscall });
  }
}
