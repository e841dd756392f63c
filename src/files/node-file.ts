/** What of a FileHandle isn't a transfer: Node's own, on the descriptor that goes through the page cache. */

import type { NodeHandle } from "../core/host.js";

export class NodeFile {
  protected readonly handle: NodeHandle;
  protected isOpen = true;

  constructor(handle: NodeHandle) {
    this.handle = handle;
  }

  /** The descriptor that goes through the page cache, for APIs that take one. -1 once it's closed. */
  get fd(): number {
    return this.isOpen ? this.handle.fd : -1;
  }

  /** As FileHandle's: the options and results are Node's own. */
  async stat(options?: object): Promise<unknown> {
    this.assertOpen("fstat");
    return this.handle.stat(options);
  }

  async truncate(length = 0): Promise<void> {
    this.assertOpen("ftruncate");
    await this.handle.truncate(length);
  }

  async sync(): Promise<void> {
    this.assertOpen("fsync");
    await this.handle.sync();
  }

  async datasync(): Promise<void> {
    this.assertOpen("fdatasync");
    await this.handle.datasync();
  }

  async chmod(mode: string | number): Promise<void> {
    this.assertOpen("fchmod");
    await this.handle.chmod(mode);
  }

  async chown(uid: number, gid: number): Promise<void> {
    this.assertOpen("fchown");
    await this.handle.chown(uid, gid);
  }

  async utimes(atime: string | number | Date, mtime: string | number | Date): Promise<void> {
    this.assertOpen("futime");
    await this.handle.utimes(atime, mtime);
  }

  protected assertOpen(syscall: string): void {
    if (!this.isOpen) throw this.closedError(syscall);
  }

  protected closedError(syscall: string): Error {
    return Object.assign(new Error("file closed"), { code: "EBADF", syscall });
  }
}
