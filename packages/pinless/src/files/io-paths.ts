/** The two descriptors of a file: one through the page cache, one for direct I/O. */

import type { OpenedFile } from "../ports/opened-file.js";
import type { FallbackPath } from "../protocol/acceptance.js";
import { EACCES, EMFILE, ENFILE, ENOMEM } from "../protocol/errno.js";
import type { DescribeErrno } from "../protocol/errors.js";
import type { Scheme } from "../protocol/scheme.js";
import { BufferedShare, mostlyBuffered } from "./buffered-share.js";

/** Errors of an open that may pass: the next request tries again. */
const PASSING: readonly number[] = [-EMFILE, -ENFILE, -ENOMEM];

const NO_ACCESS = ": it's opened by /proc/self/fd, which node --allow-fs-read and --allow-fs-write must permit";

interface IoPathsHost {
  readonly scheme: Scheme;
  readonly describe: DescribeErrno;
  /** Adds a sentence to `stats().degraded`, once each. */
  degraded(why: string): void;
  counted(what: "bounced" | "buffered"): void;
}

export class IoPaths implements FallbackPath {
  readonly #host: IoPathsHost;
  readonly #opened: OpenedFile;
  readonly bufferedShare: BufferedShare;
  /** The scheme's handle of the descriptor that goes through the page cache. */
  readonly cached: number;
  /**
   * The scheme's handle of the direct descriptor; -1 until the first request that needs it, because many files never
   * do.
   */
  direct = -1;
  /** Equals `direct` while requests may use it, and is -1 otherwise: the only field that the hot path reads. */
  usableDirect = -1;
  #hasDirect: boolean;

  constructor(host: IoPathsHost, opened: OpenedFile) {
    this.#host = host;
    this.#opened = opened;
    const { fd } = opened.handle;
    const { scheme } = host;
    this.cached = (opened.traits.waits ? scheme.attachStream?.(fd) : scheme.attachCached?.(fd)) ?? fd;
    this.#hasDirect = opened.direct;
    const say = (): void => host.degraded(mostlyBuffered(opened.offsetAlign));
    this.bufferedShare = new BufferedShare(opened.direct ? say : null);
  }

  /** True if the file supports direct I/O. */
  get hasDirect(): boolean {
    return this.#hasDirect;
  }

  /** True if direct writes are possible: not with O_APPEND, because the end of the file is seldom aligned. */
  get hasDirectWrites(): boolean {
    return this.#hasDirect && !this.#opened.append;
  }

  handleFor(file: number): number {
    return file === this.direct ? this.cached : -1;
  }

  /**
   * Notes that a filesystem which accepts O_DIRECT has refused direct I/O, and that the request went through the page
   * cache.
   */
  fellBack(errno: number): void {
    this.#hasDirect = false;
    this.usableDirect = -1;
    this.#host.counted("buffered");
    const [name] = this.#host.describe(errno);
    this.#host.degraded(
      `a filesystem accepts O_DIRECT but refuses direct I/O (${name}): its files go through the page cache`,
    );
  }

  /** Opens the direct descriptor if it isn't open. False if there is none, or none can be had now. */
  openDirect(): boolean {
    if (!this.#hasDirect) return false;
    if (this.direct >= 0) return true;
    const fd = this.#opened.openDirect();
    if (fd >= 0) {
      this.direct = this.#host.scheme.attachFile(fd, this.#opened.traits.prompt);
      this.usableDirect = this.direct;
      return true;
    }
    const passes = PASSING.includes(fd);
    this.#hasDirect = passes;
    const [name] = this.#host.describe(fd);
    this.#host.degraded(
      `a file couldn't be opened for direct I/O (${name}): its requests go through the page ` +
        `cache${passes ? " for now" : fd === -EACCES ? NO_ACCESS : ""}`,
    );
    return false;
  }

  /** Detaches both descriptors. No request of the file may be in flight. */
  close(): void {
    if (this.direct >= 0) this.#host.scheme.detachFile(this.direct);
    this.#host.scheme.detachFile(this.cached);
  }
}
