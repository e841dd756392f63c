/** Options of single reads and writes, and of all those of a file, which become the word of `protocol/how.ts`. */

import type { AtomicLimits } from "../ports/opened-file.js";
import { badOption, checkBoolean, checkOptions } from "../ports/option-checks.js";
import { type Direction, READ, WRITE } from "../protocol/direction.js";
import { EPERM } from "../protocol/errno.js";
import { IOPRIO, PRIORITY_SHIFT, RWF } from "../protocol/how.js";

/** Priority of a request at a device whose I/O scheduler heeds it, as ioprio_set(2). */
export interface Priority {
  /** Realtime goes before all other I/O, and idle after it. Realtime needs CAP_SYS_NICE or CAP_SYS_ADMIN. */
  class: "realtime" | "best-effort" | "idle";
  /**
   * Level within the class: 0 (first) to 7. Idle has no levels.
   *
   * @defaultValue 4
   */
  level?: number | undefined;
}

/** Options of a request that reads. */
export interface ReadRequestOptions {
  /**
   * True to leave nothing in the page cache of what has to go through it. It makes no difference to other I/O.
   *
   * @defaultValue the file's, which is false unless it was opened with true
   */
  uncached?: boolean | undefined;
  /**
   * Priority at the device.
   *
   * @defaultValue the file's; without one, that of the thread
   */
  priority?: Priority | undefined;
}

/** Options of a request that writes. */
export interface RequestOptions extends ReadRequestOptions {
  /**
   * True if the write is to complete only once its data, and what is needed to find them, is on the disk: as with
   * O_DSYNC.
   *
   * @defaultValue the file's, which is false unless it was opened with true
   */
  dsync?: boolean | undefined;
  /**
   * True if the write is to complete only once its data and all of the file's attributes are on the disk: as with
   * O_SYNC.
   *
   * @defaultValue the file's, which is false unless it was opened with true
   */
  sync?: boolean | undefined;
  /**
   * True for a write that a power failure leaves done or not done, never half done. It takes memory of an arena, and a
   * length that is a power of two within `file.features.atomic`, at a multiple of that length. Nothing is ever done in
   * its place.
   *
   * @defaultValue the file's, which is false unless it was opened with true
   */
  atomic?: boolean | undefined;
}

/** Options that a file, its filesystem or the kernel may lack, for {@link File.features}. */
export interface FileFeatures {
  /** Limits of atomic writes; null if there are none. */
  readonly atomic: AtomicLimits | null;
  /** The reasons why options aren't in effect as asked. Those that no request has tried yet are missing. */
  readonly refused: Readonly<Partial<Record<keyof RequestOptions, string>>>;
}

/** Options of the requests of a file that name none. */
export interface UsualHow {
  readonly [READ]: number;
  readonly [WRITE]: number;
}

export const REQUEST_OPTIONS: readonly (keyof RequestOptions)[] = ["dsync", "sync", "atomic", "uncached", "priority"];
const OF_WRITES: Readonly<Record<"dsync" | "sync" | "atomic", number>> = {
  dsync: RWF.RWF_DSYNC,
  sync: RWF.RWF_SYNC,
  atomic: RWF.RWF_ATOMIC,
};
const CLASSES: Readonly<Record<Priority["class"], number>> = {
  realtime: IOPRIO.IOPRIO_CLASS_RT,
  "best-effort": IOPRIO.IOPRIO_CLASS_BE,
  idle: IOPRIO.IOPRIO_CLASS_IDLE,
};
const LEVEL = 4;

/** Checks the options of a file. */
export function usualHowOf(options: RequestOptions = {}): UsualHow {
  checkOptions("openFile", options, REQUEST_OPTIONS);
  const { uncached, priority } = options;
  return { [READ]: howOf(READ, { uncached, priority }, 0), [WRITE]: howOf(WRITE, options, 0) };
}

/** The word of a request's options. What they don't name is as in `usual`. */
export function howOf(direction: Direction, options: RequestOptions, usual: number): number {
  let how = withFlag(usual, RWF.RWF_DONTCACHE, "uncached", options.uncached);
  for (const name of ["dsync", "sync", "atomic"] as const) {
    if (options[name] === undefined) continue;
    if (direction === READ) throw badOption(name, options[name], "effect on writes only: leave it out");
    how = withFlag(how, OF_WRITES[name], name, options[name]);
  }
  if (options.priority === undefined) return how;
  return (how & ((1 << PRIORITY_SHIFT) - 1)) | (priorityOf(options.priority) << PRIORITY_SHIFT);
}

function withFlag(how: number, flag: number, name: string, value: unknown): number {
  if (value === undefined) return how;
  checkBoolean(name, value);
  return value === true ? how | flag : how & ~flag;
}

function priorityOf(priority: Priority): number {
  checkOptions("priority", priority, ["class", "level"]);
  const { class: name, level = name === "idle" ? 0 : LEVEL } = priority;
  const number = Object.hasOwn(CLASSES, name) ? CLASSES[name] : undefined;
  if (number === undefined) throw badOption("priority.class", name, '"realtime", "best-effort" or "idle"');
  if (!Number.isInteger(level) || level < 0 || level > 7)
    throw badOption("priority.level", level, "a whole number from 0 to 7");
  if (name === "idle" && level !== 0) throw badOption("priority.level", level, "no value with the class idle");
  return (number << IOPRIO.IOPRIO_CLASS_SHIFT) | level;
}

/** Adds to the message of a refused priority what it needs. */
export function explainPriority(error: { readonly errno: number; message: string }, how: number): void {
  if (error.errno !== -EPERM || how >> (PRIORITY_SHIFT + IOPRIO.IOPRIO_CLASS_SHIFT) !== IOPRIO.IOPRIO_CLASS_RT) return;
  error.message += ": the priority realtime needs CAP_SYS_NICE or CAP_SYS_ADMIN";
}
