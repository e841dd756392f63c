/** The used part of FileHandle for a descriptor that Node didn't open: node:fs makes handles from paths only. */

import * as fs from "node:fs";
import { promisify } from "node:util";
import type { NodeHandle } from "../ports/opened-file.js";

const fstat = promisify(
  fs.fstat as (fd: number, options: object, done: (error: Error | null, stat: unknown) => void) => void,
);
const ftruncate = promisify(fs.ftruncate);
const fsync = promisify(fs.fsync);
const fdatasync = promisify(fs.fdatasync);
const fchmod = promisify(fs.fchmod);
const fchown = promisify(fs.fchown);
const futimes = promisify(fs.futimes);
const close = promisify(fs.close);

export class DescriptorHandle implements NodeHandle {
  readonly fd: number;

  constructor(fd: number) {
    this.fd = fd;
  }

  stat(options: object = {}): Promise<unknown> {
    return fstat(this.fd, options);
  }

  truncate(length = 0): Promise<void> {
    return ftruncate(this.fd, length);
  }

  sync(): Promise<void> {
    return fsync(this.fd);
  }

  datasync(): Promise<void> {
    return fdatasync(this.fd);
  }

  chmod(mode: string | number): Promise<void> {
    return fchmod(this.fd, mode);
  }

  chown(uid: number, gid: number): Promise<void> {
    return fchown(this.fd, uid, gid);
  }

  utimes(atime: string | number | Date, mtime: string | number | Date): Promise<void> {
    return futimes(this.fd, atime, mtime);
  }

  close(): Promise<void> {
    return close(this.fd);
  }
}
