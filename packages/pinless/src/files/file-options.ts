/** Options of a file's requests: which are asked for, by the file or by a call, and which the file has. */

import type { OpenedFile } from "../ports/opened-file.js";
import { checkOptions } from "../ports/option-checks.js";
import { type Direction, WRITE } from "../protocol/direction.js";
import { unsupported } from "../protocol/errors.js";
import { PRIORITY, RWF } from "../protocol/how.js";
import type { Scheme } from "../protocol/scheme.js";
import { assertUnit, notAtomic, whyNotAtomic } from "./atomic-writes.js";
import type { DirectRequests } from "./direct-requests.js";
import type { FileHost } from "./file-host.js";
import type { FileLifetime } from "./file-lifetime.js";
import { type FileFeatures, howOf, REQUEST_OPTIONS, type RequestOptions, type UsualHow } from "./request-options.js";

const NONE: RequestOptions = {};

export class FileOptions {
  readonly #host: FileHost;
  readonly #lifetime: FileLifetime;
  readonly #requests: DirectRequests;

  constructor(host: FileHost, lifetime: FileLifetime, requests: DirectRequests) {
    this.#host = host;
    this.#lifetime = lifetime;
    this.#requests = requests;
  }

  /** The options that the file has and lacks. */
  get features(): FileFeatures {
    const { opened, transfers } = this.#lifetime;
    const { mount } = transfers;
    const reasons = {
      dsync: mount.whyRefused(RWF.RWF_DSYNC),
      sync: mount.whyRefused(RWF.RWF_SYNC),
      atomic: whyNotAtomic(opened),
      uncached: mount.whyRefused(RWF.RWF_DONTCACHE),
      priority: this.#host.scheme.refusesPriority,
    };
    const refused = Object.fromEntries(Object.entries(reasons).filter(([, why]) => why !== undefined));
    return { atomic: reasons.atomic === undefined ? opened.atomic : null, refused };
  }

  /** Options of a call of `read` or `write`, which may be among its arguments. */
  ofCall(direction: Direction, options: unknown): number {
    const usual = this.#lifetime.usual[direction];
    const given = typeof options === "object" && options !== null && !ArrayBuffer.isView(options);
    return this.#checked(given ? howOf(direction, options, usual) : usual);
  }

  /** Options of a submission, which has no others. Throws if it is an atomic write that can't be one. */
  ofSubmission(
    direction: Direction,
    buffer: ArrayBufferView,
    position: number,
    options: RequestOptions = NONE,
  ): number {
    if (typeof options !== "object" || options === null) checkOptions("submit", options, REQUEST_OPTIONS);
    // Object.keys() would allocate.
    for (const name in options)
      if (!(REQUEST_OPTIONS as readonly string[]).includes(name)) checkOptions("submit", options, REQUEST_OPTIONS);
    const how = this.#checked(howOf(direction, options, this.#lifetime.usual[direction]));
    if ((how & RWF.RWF_ATOMIC) === 0) return how;
    assertUnit(this.#lifetime.opened, buffer.byteLength, position);
    if (!this.#requests.isInArena(buffer)) throw notAtomic();
    return how;
  }

  /** Throws unless requests of this file may have these options. */
  #checked(how: number): number {
    const { refusesPriority } = this.#host.scheme;
    if (refusesPriority !== undefined && (how & PRIORITY) !== 0) this.#host.degraded(refusesPriority);
    const why = (how & RWF.RWF_ATOMIC) !== 0 ? whyNotAtomic(this.#lifetime.opened) : undefined;
    if (why !== undefined) throw unsupported(why);
    return how;
  }
}

/** The reason why an engine can't do I/O on a file; undefined if it can. */
export function whyNotOpened(opened: OpenedFile, { refusesSockets }: Scheme, usual: UsualHow): string | undefined {
  const isAtomic = (usual[WRITE] & RWF.RWF_ATOMIC) !== 0;
  return opened.socket && refusesSockets !== undefined ? refusesSockets : isAtomic ? whyNotAtomic(opened) : undefined;
}
