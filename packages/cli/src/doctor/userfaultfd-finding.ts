/** Tests whether other code's discards and unmaps can be followed. */

import { UFFD } from "pinless/internal";
import { degraded, errnoName, type Found, missing, ok } from "./finding.js";
import { readNumber } from "./kernel-files.js";
import { filterRemedy, type Place } from "./place.js";
import { tryUserfaultfd } from "./try-userfaultfd.js";

export interface UserfaultfdFacts {
  /** Errno of the system call, e.g. "EPERM", or null. */
  readonly errno: string | null;
  /**
   * The sysctl vm.unprivileged_userfaultfd: 1 lets ordinary users handle faults in the kernel too, which pinless
   * doesn't do.
   */
  readonly unprivileged: number | null;
  readonly writeProtect: boolean | null;
  readonly writeProtectAsync: boolean | null;
  readonly removeEvents: boolean | null;
  readonly unmapEvents: boolean | null;
  readonly remapEvents: boolean | null;
  /** True if memory could be registered. */
  readonly registers: boolean | null;
}

export const NO_USERFAULTFD_FACTS: UserfaultfdFacts = {
  errno: null,
  unprivileged: null,
  writeProtect: null,
  writeProtectAsync: null,
  removeEvents: null,
  unmapEvents: null,
  remapEvents: null,
  registers: null,
};

export function examineUserfaultfd(place: Place): Found<UserfaultfdFacts> {
  const { errno, features, registers } = tryUserfaultfd();
  const has = (feature: number): boolean => (features & feature) !== 0;
  const facts = {
    errno: errno === 0 ? null : errnoName(errno),
    unprivileged: readNumber("/proc/sys/vm/unprivileged_userfaultfd"),
    writeProtect: has(UFFD.UFFD_FEATURE_PAGEFAULT_FLAG_WP),
    writeProtectAsync: has(UFFD.UFFD_FEATURE_WP_ASYNC),
    removeEvents: has(UFFD.UFFD_FEATURE_EVENT_REMOVE),
    unmapEvents: has(UFFD.UFFD_FEATURE_EVENT_UNMAP),
    remapEvents: has(UFFD.UFFD_FEATURE_EVENT_REMAP),
    registers: registers === 0,
  };
  if (errno !== 0)
    return {
      ...missing(
        `refused with ${facts.errno}`,
        ...(facts.errno === "ENOSYS" ? ["It needs a kernel with CONFIG_USERFAULTFD."] : []),
        filterRemedy(place, "userfaultfd"),
      ),
      ...facts,
    };
  const names = { WP: facts.writeProtect, WP_ASYNC: facts.writeProtectAsync, REMOVE: facts.removeEvents };
  const more = { UNMAP: facts.unmapEvents, REMAP: facts.remapEvents };
  const all = Object.entries({ ...names, ...more });
  const there = all.filter(([, yes]) => yes).map(([name]) => name);
  const lacking = all.filter(([, yes]) => !yes).map(([name]) => name);
  const found = there.join(", ");
  if (registers !== 0)
    return {
      ...degraded(
        `${found}; memory can't be registered (${errnoName(registers)})`,
        "Write protection needs Linux 5.7 or later.",
      ),
      ...facts,
    };
  // No kernel reports these, and leases survive them.
  if (lacking.length === 0) return { ...ok(`${found}; guard pages (MADV_GUARD_INSTALL) aren't reported`), ...facts };
  return {
    ...degraded(`${found}; without ${lacking.join(", ")}`, "WP_ASYNC, the newest of them, needs Linux 6.7."),
    ...facts,
  };
}
