/** Transfers by node:fs, a call of the kernel's each, so that they're at the descriptor's own position and atomic for everybody who shares it. */

import { ERRNO, FCNTL } from "../abi/numbers.js";
import type { DescriptorCalls } from "../core/host.js";
import { lseek } from "./libc.js";
import { fstatSync, readv, writev } from "./originals.js";

export function descriptorCalls(fd: number): DescriptorCalls {
  return {
    transfer: (write, views, position) =>
      new Promise((resolve) => {
        const call = write ? writev : readv;
        // Without a number it's read(2) or write(2).
        call(fd, views, position as number, (error, bytes) =>
          resolve(error === null ? bytes : (error.errno ?? -ERRNO.EIO)),
        );
      }),
    tell: () => lseek(fd, 0, FCNTL.SEEK_CUR),
    seek: (position) => void lseek(fd, position, FCNTL.SEEK_SET),
    size: () => fstatSync(fd).size,
  };
}
