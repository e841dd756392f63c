/** Transfers by node:fs, a call of the kernel's each, so that they're at the descriptor's own position and atomic for everybody who shares it. */

import { ERRNO, FCNTL } from "../abi/numbers.js";
import type { DescriptorCalls } from "../core/host.js";
import { lseek } from "./libc.js";
import { fstatSync, read, readv, writev } from "./originals.js";

export function descriptorCalls(fd: number): DescriptorCalls {
  return {
    transfer: (write, views, position) =>
      new Promise((resolve) => {
        const done = (error: NodeJS.ErrnoException | null, bytes: number): void =>
          resolve(error === null ? bytes : (error.errno ?? -ERRNO.EIO));
        // Without a number it's read(2) or write(2).
        if (typeof position !== "bigint") (write ? writev : readv)(fd, views, position as number, done);
        else read(fd, views[0]!, 0, views[0]!.byteLength, position, done);
      }),
    tell: () => lseek(fd, 0, FCNTL.SEEK_CUR),
    seek: (position) => void lseek(fd, position, FCNTL.SEEK_SET),
    size: () => fstatSync(fd).size,
  };
}
