/**
 * Errors for resources that are short for the moment, so that the same call may succeed later. Each says what to
 * change.
 */

import { constants } from "node:os";
import { getSystemErrorMap } from "node:util";
import type { SystemError } from "../protocol/errors.js";

const REMEDIES: Readonly<Record<string, string>> = {
  EMFILE: "this process has no descriptor left: close some, or raise RLIMIT_NOFILE (ulimit -n)",
  ENFILE: "this machine has no open file left: raise sysctl fs.file-max",
  EAGAIN:
    "no thread can be started: raise pids.max of the cgroup (containers: the limit on processes), or " +
    "RLIMIT_NPROC (ulimit -u)",
  ENOMEM:
    "there is no memory, or no address space left: raise the memory cgroup's limit, or RLIMIT_AS (ulimit -v), " +
    "or close arenas",
};
const LACKS = Object.keys(REMEDIES).map((name) => {
  const errno = -constants.errno[name as "EMFILE"];
  // The C library describes ENFILE as EMFILE "in system".
  return { name, errno, said: new RegExp(`\\b${name}\\b|${getSystemErrorMap().get(errno)?.[1]}(?! in)`, "i") };
});
/** Codes of Node's that contain the kernel's error in their message only, by name or in words. */
const HIDING = /^ERR_(WORKER|DLOPEN_FAILED$|INVALID_PACKAGE_CONFIG$)/;

/** Name of the errno of a missing resource; null for any other error. */
export function lackOf(error: unknown): string | null {
  const { code = "", message = "", errno = 0 } = error as { code?: string; message?: string; errno?: number };
  if (code in REMEDIES) return code;
  if (code === "") return LACKS.find((lack) => lack.errno === errno)?.name ?? null;
  return HIDING.test(code) ? (LACKS.find(({ said }) => said.test(message))?.name ?? null) : null;
}

/** Creates the error: what couldn't be done, and what to change. */
export function lack(code: string, what: string, cause?: unknown): SystemError {
  const error = new Error(`${code}: ${what}: ${REMEDIES[code]}`, { cause }) as SystemError;
  error.code = code;
  error.errno = -constants.errno[code as keyof typeof constants.errno];
  return error;
}
