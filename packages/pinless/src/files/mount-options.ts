/** Options of requests that the filesystem of a mount, or the kernel, has taken or refused: each is tried once. */

import { EINVAL, EOPNOTSUPP } from "../protocol/errno.js";
import type { DescribeErrno, SystemError } from "../protocol/errors.js";
import { LASTING, RWF } from "../protocol/how.js";

interface MountHost {
  readonly describe: DescribeErrno;
  degraded(why: string): void;
}

const TRIED = LASTING | RWF.RWF_DONTCACHE;

export class MountOptions {
  /** Flags that a request has succeeded with. */
  #taken = 0;
  /** Flags with which a request was refused that succeeded without. */
  refused = 0;
  /** The errno of a refusal, as text. */
  because = "";

  /** True if all of these flags were tried before. */
  knows(how: number): boolean {
    return (how & TRIED & ~(this.#taken | this.refused)) === 0;
  }

  /** True if all of these flags were taken. */
  takes(how: number): boolean {
    return (how & TRIED & ~this.#taken) === 0;
  }

  /**
   * Runs a transfer with the flags of `how` that aren't refused. If it is refused, it runs again without: first without
   * `uncached`, then without `dsync` and `sync`. Never without `atomic`.
   */
  async run(
    how: number,
    { describe, degraded }: MountHost,
    transfer: (how: number) => Promise<number>,
  ): Promise<number> {
    let left = how & ~this.refused;
    if ((left & TRIED) === 0) return transfer(left);
    let because = "";
    for (;;) {
      try {
        const bytes = await transfer(left);
        if (bytes > 0) this.#taken |= left & TRIED;
        if (bytes > 0 && because !== "") this.#refuse(how & ~this.refused & ~left, because, degraded);
        return bytes;
      } catch (error) {
        const { errno, code } = error as SystemError;
        const without = left & RWF.RWF_DONTCACHE || left & LASTING;
        const mayBeFlags = errno === -EOPNOTSUPP || errno === -EINVAL;
        if (!mayBeFlags || without === 0 || (left & RWF.RWF_ATOMIC) !== 0) throw error;
        left &= ~without;
        because = code ?? describe(errno)[0];
      }
    }
  }

  #refuse(flags: number, because: string, degraded: (why: string) => void): void {
    this.refused |= flags;
    this.because = because;
    for (const flag of [RWF.RWF_DONTCACHE, RWF.RWF_DSYNC, RWF.RWF_SYNC]) {
      const why = this.whyRefused(flags & flag);
      if (why !== undefined) degraded(why);
    }
  }

  /** The reason why a flag isn't in effect; undefined if it wasn't refused. */
  whyRefused(flag: number): string | undefined {
    switch (flag & this.refused) {
      case RWF.RWF_DONTCACHE:
        return `a filesystem has no uncached I/O (${this.because}): what goes through the page cache stays there`;
      case RWF.RWF_DSYNC:
        return `a filesystem refuses dsync (${this.because}): its writes are followed by fdatasync`;
      case RWF.RWF_SYNC:
        return `a filesystem refuses sync (${this.because}): its writes are followed by fsync`;
      default:
        return undefined;
    }
  }
}

/** The mounts of an engine's files. */
export class Mounts {
  readonly #options = new Map<string, MountOptions>();

  of(mount: string): MountOptions {
    const known = this.#options.get(mount) ?? new MountOptions();
    this.#options.set(mount, known);
    return known;
  }
}
