/** What of a FileHandle isn't a transfer: Node's own, on the descriptor that goes through the page cache. */

import { EventEmitter } from "node:events";
import type { BigIntStats, StatOptions, Stats } from "node:fs";
import type { Held } from "./held.js";

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
    this.assertOpen("fstat");
    return (await this.held.handle.stat(options)) as Stats | BigIntStats;
  }

  async truncate(length?: number): Promise<void> {
    this.assertOpen("ftruncate");
    await this.held.handle.truncate(length);
  }

  async sync(): Promise<void> {
    this.assertOpen("fsync");
    await this.held.handle.sync();
  }

  async datasync(): Promise<void> {
    this.assertOpen("fdatasync");
    await this.held.handle.datasync();
  }

  async chmod(mode: string | number): Promise<void> {
    this.assertOpen("fchmod");
    await this.held.handle.chmod(mode);
  }

  async chown(uid: number, gid: number): Promise<void> {
    this.assertOpen("fchown");
    await this.held.handle.chown(uid, gid);
  }

  async utimes(atime: string | number | Date, mtime: string | number | Date): Promise<void> {
    this.assertOpen("futimes");
    await this.held.handle.utimes(atime, mtime);
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

  protected assertOpen(syscall: string): void {
    if (!this.isOpen) throw this.closedError(syscall);
  }

  protected closedError(syscall: string): Error {
    return Object.assign(new Error("file closed"), { code: "EBADF", syscall });
  }
}
