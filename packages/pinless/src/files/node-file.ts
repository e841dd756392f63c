/** FileHandle's methods other than transfers, run by Node itself on the page-cache descriptor. */

import type { BigIntStats, StatOptions, Stats } from "node:fs";
import type { NodeHandle } from "../ports/opened-file.js";
import type { FileLifetime } from "./file-lifetime.js";
import { fileClosed, naming } from "./node-errors.js";
import { EventEmitter } from "./node-runtime.js";

/** A file without its transfers. Emits `"close"`, as a FileHandle does, when `close()` is called. */
export class NodeFile extends EventEmitter {
  /** @internal */
  protected readonly lifetime: FileLifetime;

  /** @internal */
  constructor(lifetime: FileLifetime) {
    super();
    this.lifetime = lifetime;
    lifetime.setFile(this);
  }

  /** @internal */
  leaveToProgram(): void {
    this.lifetime.leaveToProgram();
  }

  /** @internal */
  protected get isOpen(): boolean {
    return this.lifetime.isOpen;
  }

  /** Descriptor that goes through the page cache, for APIs that take one; -1 once the file is closed. */
  get fd(): number {
    return this.isOpen ? this.lifetime.handle.fd : -1;
  }

  /**
   * Gives the file's status, as FileHandle's.
   *
   * @param options - `bigint`: numbers as bigints (default false)
   */
  stat(options?: StatOptions & { bigint?: false | undefined }): Promise<Stats>;
  /** Gives the file's status in bigints. */
  stat(options: StatOptions & { bigint: true }): Promise<BigIntStats>;
  /** Gives the file's status, in numbers or in bigints. */
  stat(options?: StatOptions): Promise<Stats | BigIntStats>;
  async stat(options?: StatOptions): Promise<Stats | BigIntStats> {
    return (await this.#call("fstat", (handle) => handle.stat(options))) as Stats | BigIntStats;
  }

  /**
   * Cuts the file short, or makes it longer with zeros, as FileHandle's.
   *
   * @param length - New length in bytes. Default 0
   */
  async truncate(length?: number): Promise<void> {
    await this.#call("ftruncate", (handle) => handle.truncate(length));
    this.lifetime.transfers.writeOrder.overwritten();
  }

  /** Brings data and metadata to the device, as fsync(2). */
  async sync(): Promise<void> {
    await this.#call("fsync", (handle) => handle.sync());
  }

  /** Brings data to the device, as fdatasync(2). */
  async datasync(): Promise<void> {
    await this.#call("fdatasync", (handle) => handle.datasync());
  }

  /**
   * Changes the file's permissions, as FileHandle's.
   *
   * @param mode - Such as `0o644`
   */
  async chmod(mode: string | number): Promise<void> {
    await this.#call("fchmod", (handle) => handle.chmod(mode));
  }

  /**
   * Changes the file's owner, as FileHandle's.
   *
   * @param uid - User
   * @param gid - Group
   */
  async chown(uid: number, gid: number): Promise<void> {
    await this.#call("fchown", (handle) => handle.chown(uid, gid));
  }

  /**
   * Changes the file's times, as FileHandle's.
   *
   * @param atime - Last access: a Date, or seconds
   * @param mtime - Last change: a Date, or seconds
   */
  async utimes(atime: string | number | Date, mtime: string | number | Date): Promise<void> {
    await this.#call("futimes", (handle) => handle.utimes(atime, mtime));
  }

  /**
   * Closes the file, as FileHandle's: open streams end first, and their data is written. Waits for I/O in flight; calls
   * that may never end by themselves (on pipes, terminals, sockets) end with ECANCELED. It's bound to the file, so
   * `const { close } = file` works.
   */
  readonly close = (): Promise<void> => {
    const first = !this.lifetime.isClosing;
    const closed = this.lifetime.close();
    if (first) this.emit("close");
    return closed;
  };

  /** Closes the file at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #call<T>(name: string, call: (handle: NodeHandle) => Promise<T>): Promise<T> {
    this.assertOpen(name);
    return naming(call(this.lifetime.handle));
  }

  /** @internal */
  protected assertOpen(syscall: string): void {
    if (!this.isOpen) throw fileClosed(syscall);
  }
}
