/** Attributes of copies: with -p those of the source, otherwise those of a new file, or of the file replaced. */

import { type BigIntStats, chmodSync, lchownSync } from "node:fs";
import { bytesOf } from "../command/byte-names.js";
import { attributesOf, setAttribute, setTimes } from "./attribute-calls.js";

const PERMISSIONS = 0o777;
const ALL_MODE_BITS = 0o7777;
const SET_IDS = 0o6000;

/** Gives a new file the mode, and if possible the owner, that `cp` without -p leaves it. */
export function setOrdinaryAttributes(file: string, source: BigIntStats, replaced: BigIntStats | null): void {
  if (replaced !== null) changeOwner(file, replaced);
  const mode = replaced === null ? Number(source.mode) & PERMISSIONS & ~process.umask() : Number(replaced.mode);
  chmodSync(bytesOf(file), mode & ALL_MODE_BITS);
}

/** Gives a file the owner, extended attributes with ACLs, mode and times of the source. */
export function keepAttributes(source: string, stat: BigIntStats, file: string): void {
  const isOwned = changeOwner(file, stat);
  const failures: unknown[] = [];
  for (const [name, value] of attributesOf(source)) {
    try {
      setAttribute(file, name, value);
    } catch (error) {
      // The kernel sets these by itself, and lets only root change them.
      if (!name.startsWith("security.")) failures.push(error);
    }
  }
  if (!stat.isSymbolicLink()) {
    const mode = Number(stat.mode) & ALL_MODE_BITS;
    chmodSync(bytesOf(file), isOwned ? mode : mode & ~SET_IDS);
  }
  setTimes(file, stat.atimeNs, stat.mtimeNs);
  if (failures.length > 0) throw failures[0];
}

/** False if the file can't be given to that owner: only root may do that. */
function changeOwner(file: string, { uid, gid }: BigIntStats): boolean {
  try {
    lchownSync(bytesOf(file), Number(uid), Number(gid));
    return true;
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (["EPERM", "EINVAL", "ENOTSUP"].includes(code)) return false;
    throw error;
  }
}
