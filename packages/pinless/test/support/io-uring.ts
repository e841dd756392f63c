/** The machine's setting that switches io_uring off. */

import { readFileSync } from "node:fs";

/**
 * For a test's `skip`. Only the sysctl counts: where a ring can't be had for any other reason, tests that need one have
 * to fail.
 */
export function ioUringOff(): string | false {
  let value = "0";
  try {
    value = readFileSync("/proc/sys/kernel/io_uring_disabled", "utf8").trim();
  } catch {
    // A kernel before 6.6 has no such setting.
  }
  const off = value === "2" || (value === "1" && process.getuid?.() !== 0);
  return off && `machine: kernel.io_uring_disabled is ${value}`;
}
