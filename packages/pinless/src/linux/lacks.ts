/** What is missing for a moment only: the same call may succeed later. What to change so that it isn't. */

import { constants } from "node:os";
import type { SystemError } from "../errors.js";

const REMEDIES: Readonly<Record<string, string>> = {
  EMFILE: "this process has no descriptor left: close some, or raise RLIMIT_NOFILE (ulimit -n)",
  ENFILE: "this machine has no open file left: raise sysctl fs.file-max",
  EAGAIN:
    "no thread can be started: raise pids.max of the cgroup (containers: the limit on processes), or RLIMIT_NPROC (ulimit -u)",
  ENOMEM:
    "there is no memory, or no address space left: raise the memory cgroup's limit, or RLIMIT_AS (ulimit -v), or close arenas",
};
const CODE = new RegExp(`\\b(?:${Object.keys(REMEDIES).join("|")})\\b`);

/** The name of what is missing; null where it's something else that's wrong. Node hides some in messages (ERR_WORKER_INIT_FAILED). */
export function lackOf(error: unknown): string | null {
  const { code = "", message = "", errno = 0 } = error as { code?: string; message?: string; errno?: number };
  if (code in REMEDIES) return code;
  if (code === "") return Object.keys(REMEDIES).find((name) => constants.errno[name as "EMFILE"] === -errno) ?? null;
  return code.startsWith("ERR_WORKER") || code === "ERR_DLOPEN_FAILED" ? (CODE.exec(message)?.[0] ?? null) : null;
}

/** Says what couldn't be done, and what to change. */
export function lack(code: string, what: string, cause?: unknown): SystemError {
  const error = new Error(`${code}: ${what}: ${REMEDIES[code]}`, { cause }) as SystemError;
  error.code = code;
  error.errno = -constants.errno[code as keyof typeof constants.errno];
  return error;
}
