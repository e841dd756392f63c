/**
 * Bindings of C library functions by FFI. koffi is loaded by the first `loadLibc()`, not at import: so importing
 * pinless is cheap, and works where add-ons are forbidden.
 */

import { isMainThread } from "node:worker_threads";
import type { KoffiFunc } from "koffi";
import { DLFCN } from "../abi/numbers.js";
import { importKoffi, type Koffi } from "./addon.js";
import { readFileSync } from "./originals.js";

export interface Libc {
  koffi: Koffi;
  setup(nr: number, entries: number, params: bigint): number;
  enter(
    nr: number,
    fd: number,
    toSubmit: number,
    minComplete: number,
    flags: number,
    argument: number,
    bytes: number,
  ): number;
  register(nr: number, fd: number, opcode: number, argument: bigint, count: number): number;
  aio(nr: number, first: number, second: number, third: number): number;
  getevents(nr: number, context: number, min: number, max: number, events: number, timeout: number): number;
  mmap(address: number, bytes: number, protection: number, flags: number, fd: number, offset: number): number;
  munmap(address: number, bytes: number): number;
  msync(address: number, bytes: number, flags: number): number;
  fallocate(fd: number, mode: number, offset: number, bytes: number): number;
  posix_fadvise(fd: number, offset: number, bytes: number, advice: number): number;
  copyFileRange(
    from: number,
    position: BigInt64Array,
    to: number,
    toPosition: BigInt64Array,
    bytes: number,
    flags: number,
  ): number;
  madvise(address: number, bytes: number, advice: number): number;
  mprotect(address: number, bytes: number, protection: number): number;
  movePages(
    nr: number,
    pid: number,
    count: number,
    pages: BigUint64Array,
    nodes: Int32Array | null,
    status: Int32Array,
    flags: number,
  ): number;
  getcpu(nr: number, processor: null, node: Uint32Array, cache: null): number;
  getMempolicy(nr: number, mode: Int32Array, nodes: null, bits: number, address: null, flags: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  ioctl(fd: number, request: number, argument: number): number;
  userfaultfd(nr: number, flags: number): number;
  close(fd: number): number;
  eventfd(count: number, flags: number): number;
  dup3(from: number, to: number, flags: number): number;
  socketpair(domain: number, type: number, protocol: number, fds: Int32Array): number;
  getsockopt(fd: number, level: number, name: number, value: Int32Array, bytes: Int32Array): number;
  statx(dirfd: number, path: string, flags: number, mask: number, buffer: Uint8Array): number;
  faccessat(dirfd: number, path: string, mode: number, flags: number): number;
  getrlimit(resource: number, limits: BigUint64Array): number;
  geteuid(): number;
  read(fd: number, memory: number, bytes: number): number;
  lseek(fd: number, offset: number, whence: number): number;
  preadv(fd: number, buffers: number, count: number, offset: number): number;
  transfer2: KoffiFunc<
    (
      nr: number,
      fd: number,
      buffers: number,
      count: number,
      offset: number | bigint,
      high: number,
      flags: number,
    ) => number
  >;
  cachestat(nr: number, fd: number, range: BigUint64Array, counts: BigUint64Array, flags: number): number;
  pwritev(fd: number, buffers: number, count: number, offset: number): number;
  epollCreate(flags: number): number;
  epollControl(epoll: number, operation: number, fd: number, event: Uint8Array): number;
  epollWait(epoll: number, events: Uint8Array, count: number, timeoutMs: number): number;
  clockGettime(clock: number, time: BigInt64Array): number;
  prctl(option: number, argument: number, third: number, fourth: number, fifth: number): number;
  setAffinity(pid: number, bytes: number, mask: Uint8Array): number;
  addHook(env: bigint, run: bigint, argument: number): number;
  removeHook(env: bigint, run: bigint, argument: number): number;
  closeSymbol: bigint;
  postSymbol: bigint;
}

/** The bindings, once they are loaded; the hot path reads them without a check. */
export let libc: Libc | undefined;

/** Loads koffi and binds the functions. Throws `ERR_PINLESS_UNSUPPORTED` where Node may not load add-ons. */
export async function loadLibc(): Promise<void> {
  libc ??= bind(await importKoffi());
}

function bind(koffi: Koffi): Libc {
  const lib = koffi.load(null);
  if (!isMainThread) keepAddonLoaded(lib);
  const hook = "(uintptr_t env, uintptr_t run, intptr_t argument)";
  return {
    koffi,
    setup: lib.func("syscall", "long", ["long", "uint32_t", "uintptr_t"]),
    enter: lib.func("syscall", "long", ["long", "int", "uint32_t", "uint32_t", "uint32_t", "uintptr_t", "size_t"]),
    register: lib.func("syscall", "long", ["long", "int", "uint32_t", "uintptr_t", "uint32_t"]),
    aio: lib.func("syscall", "long", ["long", "uintptr_t", "uintptr_t", "uintptr_t"]),
    getevents: lib.func("syscall", "long", ["long", "uintptr_t", "long", "long", "uintptr_t", "uintptr_t"]),
    mmap: lib.func("intptr_t mmap(uintptr_t address, size_t bytes, int protection, int flags, int fd, int64_t offset)"),
    munmap: lib.func("int munmap(uintptr_t address, size_t bytes)"),
    msync: lib.func("int msync(uintptr_t address, size_t bytes, int flags)"),
    posix_fadvise: lib.func("int posix_fadvise(int fd, int64_t offset, int64_t bytes, int advice)"),
    fallocate: lib.func("int fallocate(int fd, int mode, int64_t offset, int64_t bytes)"),
    copyFileRange: lib.func(
      "intptr_t copy_file_range(int from, int64_t *position, int to, int64_t *at, size_t bytes, uint32_t flags)",
    ),
    madvise: lib.func("int madvise(uintptr_t address, size_t bytes, int advice)"),
    mprotect: lib.func("int mprotect(uintptr_t address, size_t bytes, int protection)"),
    movePages: lib.func("syscall", "long", ["long", "int", "size_t", "uint64_t *", "int32_t *", "int32_t *", "int"]),
    getcpu: lib.func("syscall", "long", ["long", "void *", "uint32_t *", "void *"]),
    getMempolicy: lib.func("syscall", "long", ["long", "int32_t *", "void *", "size_t", "void *", "size_t"]),
    fcntl: lib.func("int fcntl(int fd, int command, long argument)"),
    ioctl: lib.func("int ioctl(int fd, unsigned long request, uintptr_t argument)"),
    userfaultfd: lib.func("syscall", "long", ["long", "int"]),
    close: lib.func("int close(int fd)"),
    eventfd: lib.func("int eventfd(uint32_t count, int flags)"),
    dup3: lib.func("int dup3(int from, int to, int flags)"),
    socketpair: lib.func("int socketpair(int domain, int type, int protocol, int32_t *fds)"),
    getsockopt: lib.func("int getsockopt(int fd, int level, int name, int32_t *value, int32_t *bytes)"),
    statx: lib.func("int statx(int dirfd, const char *path, int flags, uint32_t mask, uint8_t *buffer)"),
    faccessat: lib.func("int faccessat(int dirfd, const char *path, int mode, int flags)"),
    getrlimit: lib.func("int getrlimit(int resource, uint64_t *limits)"),
    geteuid: lib.func("uint32_t geteuid()"),
    read: lib.func("intptr_t read(int fd, uintptr_t memory, size_t bytes)"),
    lseek: lib.func("int64_t lseek(int fd, int64_t offset, int whence)"),
    cachestat: lib.func("syscall", "long", ["long", "int", "uint64_t *", "uint64_t *", "uint32_t"]),
    preadv: lib.func("intptr_t preadv(int fd, uintptr_t buffers, int count, int64_t offset)"),
    transfer2: lib.func("syscall", "long", ["long", "int", "uintptr_t", "long", "long", "long", "int"]),
    pwritev: lib.func("intptr_t pwritev(int fd, uintptr_t buffers, int count, int64_t offset)"),
    epollCreate: lib.func("int epoll_create1(int flags)"),
    epollControl: lib.func("int epoll_ctl(int epoll, int operation, int fd, uint8_t *event)"),
    epollWait: lib.func("int epoll_wait(int epoll, _Out_ uint8_t *events, int count, int timeoutMs)"),
    clockGettime: lib.func("int clock_gettime(int clock, _Out_ int64_t *time)"),
    prctl: lib.func("prctl", "int", ["int", "unsigned long", "unsigned long", "unsigned long", "unsigned long"]),
    setAffinity: lib.func("int sched_setaffinity(int pid, size_t bytes, uint8_t *mask)"),
    addHook: lib.func(`int napi_add_env_cleanup_hook${hook}`),
    removeHook: lib.func(`int napi_remove_env_cleanup_hook${hook}`),
    closeSymbol: lib.symbol("close") as bigint,
    postSymbol: lib.symbol("sem_post") as bigint,
  };
}

/**
 * Keeps koffi loaded by a second, permanent handle. If only a worker has loaded it, it's unloaded when that worker
 * ends, while calls of it are still to come, and the process crashes (measured on Node 20 to 26).
 */
function keepAddonLoaded(lib: ReturnType<Koffi["load"]>): void {
  const path = /\S+koffi\S*\.node$/m.exec(readFileSync("/proc/self/maps", "utf8"))?.[0];
  if (path === undefined) return;
  lib.func("void *dlopen(const char *path, int flags)")(path, DLFCN.RTLD_NOW | DLFCN.RTLD_NOLOAD | DLFCN.RTLD_NODELETE);
}

/** The bindings. Throws before `loadLibc()`. */
export function bound(): Libc {
  if (libc === undefined) throw new Error("loadLibc() comes first");
  return libc;
}

/** Converts a C result to 0, a count, or -errno: the C library returns -1 and sets errno. */
export function orErrno(result: number): number {
  return result === -1 ? -libc!.koffi.errno() : result;
}

/** Address of memory. It must not move: a small typed array would, because it lives on V8's heap. */
export function addressOf(memory: ArrayBufferLike): number {
  return Number(bound().koffi.address(new Uint8Array(memory)));
}

/** View of the memory at an address. Access after it was unmapped kills the process. */
export function viewOf(address: number, bytes: number): ArrayBuffer {
  return bound().koffi.view(BigInt(address), bytes);
}
