/** The ways that a file's requests go: through the page cache, and around it. */

import type { OpenedFile } from "../ports/opened-file.js";
import type { Instead } from "../protocol/acceptance.js";
import { EACCES, EMFILE, ENFILE, ENOMEM } from "../protocol/errno.js";
import type { DescribeErrno } from "../protocol/errors.js";
import type { Scheme } from "../protocol/scheme.js";
import { Detours, mostlyBuffered } from "./buffered-share.js";

/** What passes: the next request asks again. */
const PASSING: readonly number[] = [-EMFILE, -ENFILE, -ENOMEM];

const NO_ACCESS = ": that goes by /proc/self/fd, which node --allow-fs-read and --allow-fs-write have to let it";

interface WaysHost {
  readonly scheme: Scheme;
  readonly describe: DescribeErrno;
  /** Says in the engine's statistics why something isn't as it was asked for; each sentence once. */
  degraded(why: string): void;
  counted(what: "bounced" | "buffered"): void;
}

export class Ways implements Instead {
  readonly #host: WaysHost;
  readonly #opened: OpenedFile;
  readonly detours: Detours;
  /** The scheme's handle for the descriptor that goes through the page cache. */
  readonly cached: number;
  /** The one for the other, -1 as long as that isn't open: it's opened when it's first needed, since many files never need it. */
  direct = -1;
  #hasDirect: boolean;

  constructor(host: WaysHost, opened: OpenedFile) {
    this.#host = host;
    this.#opened = opened;
    const { fd } = opened.handle;
    const { scheme } = host;
    this.cached = (opened.traits.waits ? scheme.attachStream?.(fd) : scheme.attachCached?.(fd)) ?? fd;
    this.#hasDirect = opened.direct;
    const say = (): void => host.degraded(mostlyBuffered(opened.offsetAlign));
    this.detours = new Detours(opened.direct ? say : null);
  }

  /** Whether there's a way around the page cache. */
  get hasDirect(): boolean {
    return this.#hasDirect;
  }

  /** The end of the file, where O_APPEND writes go, is aligned only by chance. */
  get hasDirectWrites(): boolean {
    return this.#hasDirect && !this.#opened.append;
  }

  handleFor(file: number): number {
    return file === this.direct ? this.cached : -1;
  }

  /** A filesystem that takes O_DIRECT has refused what was asked for around the page cache; through it that went. */
  taken(errno: number): void {
    this.#hasDirect = false;
    this.#host.counted("buffered");
    const [name] = this.#host.describe(errno);
    this.#host.degraded(
      `a filesystem takes O_DIRECT and refuses direct I/O (${name}): such files go through the page cache`,
    );
  }

  /** Opens the way around the page cache, if it isn't. False: there is none, or none now. */
  openDirect(): boolean {
    if (!this.#hasDirect) return false;
    if (this.direct >= 0) return true;
    const fd = this.#opened.openDirect();
    if (fd >= 0) {
      this.direct = this.#host.scheme.attachFile(fd, this.#opened.traits.prompt);
      return true;
    }
    const passes = PASSING.includes(fd);
    this.#hasDirect = passes;
    const [name] = this.#host.describe(fd);
    this.#host.degraded(
      `a file couldn't be opened for direct I/O (${name}): its requests go through the page cache${passes ? " meanwhile" : fd === -EACCES ? NO_ACCESS : ""}`,
    );
    return false;
  }

  /** The file is closed: no request of it is left. */
  close(): void {
    if (this.direct >= 0) this.#host.scheme.detachFile(this.direct);
    this.#host.scheme.detachFile(this.cached);
  }
}
