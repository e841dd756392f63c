/** Calls of the C library that node:fs lacks, on a path and never on what a symbolic link leads to. */

import { getSystemErrorMap } from "node:util";
import { bound, orErrno } from "pinless/internal";
import { bytesOf } from "../command/byte-names.js";

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const MAX_ATTRIBUTE_BYTES = 64 << 10;

type Path = Uint8Array;

interface Calls {
  list(path: Path, names: Uint8Array, bytes: number): number;
  get(path: Path, name: Path, value: Uint8Array, bytes: number): number;
  set(path: Path, name: Path, value: Uint8Array, bytes: number, flags: number): number;
  utimens(directory: number, path: Path, times: BigInt64Array, flags: number): number;
  mknod(path: Path, mode: number, device: bigint): number;
}

let calls: Calls | null = null;

/** The bindings; an engine must be open, since it loads the C library. */
function bindings(): Calls {
  if (calls !== null) return calls;
  const lib = bound().koffi.load(null);
  const onPath = "const uint8_t *path";
  const named = `${onPath}, const uint8_t *name`;
  calls = {
    list: lib.func(`intptr_t llistxattr(${onPath}, _Out_ uint8_t *names, size_t bytes)`),
    get: lib.func(`intptr_t lgetxattr(${named}, _Out_ uint8_t *value, size_t bytes)`),
    set: lib.func(`int lsetxattr(${named}, const uint8_t *value, size_t bytes, int flags)`),
    utimens: lib.func(`int utimensat(int directory, ${onPath}, const int64_t *times, int flags)`),
    mknod: lib.func(`int mknod(${onPath}, uint32_t mode, uint64_t device)`),
  };
  return calls;
}

function checked(result: number, call: string): number {
  const errno = orErrno(result);
  if (errno >= 0) return errno;
  const [code, text] = getSystemErrorMap().get(errno) ?? [`errno ${-errno}`, "unknown error"];
  throw Object.assign(new Error(`${code}: ${text}, ${call}`), { code, errno, syscall: call });
}

function cString(name: string): Buffer {
  return Buffer.concat([bytesOf(name), Buffer.of(0)]);
}

/** The extended attributes of a file, ACLs (`system.posix_acl_…`) among them; none where there are no such things. */
export function attributesOf(file: string): ReadonlyMap<string, Uint8Array> {
  const { list, get } = bindings();
  const path = cString(file);
  const memory = new Uint8Array(MAX_ATTRIBUTE_BYTES);
  const found = new Map<string, Uint8Array>();
  const bytes = orErrno(list(path, memory, memory.length));
  if (bytes <= 0) return found;
  for (const name of Buffer.from(memory.subarray(0, bytes)).toString().split("\0").slice(0, -1)) {
    const length = checked(get(path, cString(name), memory, memory.length), "lgetxattr");
    found.set(name, memory.slice(0, length));
  }
  return found;
}

export function setAttribute(file: string, name: string, value: Uint8Array): void {
  checked(bindings().set(cString(file), cString(name), value, value.length, 0), "lsetxattr");
}

/** Sets both times to the nanosecond, which node:fs can't. */
export function setTimes(file: string, atimeNs: bigint, mtimeNs: bigint): void {
  const times = BigInt64Array.from([atimeNs, mtimeNs].flatMap((ns) => [ns / 1_000_000_000n, ns % 1_000_000_000n]));
  checked(bindings().utimens(AT_FDCWD, cString(file), times, AT_SYMLINK_NOFOLLOW), "utimensat");
}

/** Makes a FIFO, a socket or a device. */
export function makeNode(file: string, mode: number, device: bigint): void {
  checked(bindings().mknod(cString(file), mode, device), "mknod");
}
