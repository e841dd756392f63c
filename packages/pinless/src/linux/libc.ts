/**
 * The C library by FFI: one thin function a call, each returning a result or a negative errno. koffi is loaded at the first `loadLibc()`,
 * not at import, so that importing pinless is cheap and works where add-ons are forbidden.
 */

import { isMainThread } from "node:worker_threads";
import { RLIMIT, TIMESPEC, UCRED } from "../abi/layouts.js";
import {
  aioSyscalls,
  DLFCN,
  FCNTL,
  MEMPOLICY,
  MMAN,
  memorySyscalls,
  numaSyscalls,
  SOCKET,
  SYSCALLS,
  userfaultfdSyscall,
} from "../abi/numbers.js";
import { importKoffi, type Koffi } from "./addon.js";
import { readFileSync } from "./originals.js";

/** struct epoll_event has 12 bytes on x86-64, where it's packed, and 16 elsewhere. */
export const EPOLL_EVENT_BYTES = 16;

interface Libc {
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

let libc: Libc | undefined;

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
    fallocate: lib.func("int fallocate(int fd, int mode, int64_t offset, int64_t bytes)"),
    madvise: lib.func("int madvise(uintptr_t address, size_t bytes, int advice)"),
    mprotect: lib.func("int mprotect(uintptr_t address, size_t bytes, int protection)"),
    movePages: lib.func("syscall", "long", ["long", "int", "size_t", "uint64_t *", "int32_t *", "int32_t *", "int"]),
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
    preadv: lib.func("intptr_t preadv(int fd, uintptr_t buffers, int count, int64_t offset)"),
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
 * koffi loaded in a worker only is unloaded when that worker ends, with calls of its own still to come: the process died (measured on
 * Node 20 to 26). A second, permanent handle to the add-on prevents it.
 */
function keepAddonLoaded(lib: ReturnType<Koffi["load"]>): void {
  const path = /\S+koffi\S*\.node$/m.exec(readFileSync("/proc/self/maps", "utf8"))?.[0];
  if (path === undefined) return;
  lib.func("void *dlopen(const char *path, int flags)")(path, DLFCN.RTLD_NOW | DLFCN.RTLD_NOLOAD | DLFCN.RTLD_NODELETE);
}

function bound(): Libc {
  if (libc === undefined) throw new Error("loadLibc() comes first");
  return libc;
}

/** 0 or a count, or -errno; libc says -1 and keeps the reason in errno. */
function orErrno(c: Libc, result: number): number {
  return result === -1 ? -c.koffi.errno() : result;
}

/** Of memory that doesn't move: not of a small typed array, which lives on V8's heap. */
export function addressOf(memory: ArrayBufferLike): number {
  return Number(bound().koffi.address(new Uint8Array(memory)));
}

/** The memory at an address. Touching it after it was unmapped kills the process. */
export function viewOf(address: number, bytes: number): ArrayBuffer {
  return bound().koffi.view(BigInt(address), bytes);
}

export function ioUringSetup(entries: number, params: ArrayBuffer): number {
  const c = bound();
  return orErrno(c, c.setup(SYSCALLS.__NR_io_uring_setup, entries, BigInt(addressOf(params))));
}

export function ioUringEnter(fd: number, toSubmit: number, minComplete: number, flags: number): number {
  const c = libc!;
  return orErrno(c, c.enter(SYSCALLS.__NR_io_uring_enter, fd, toSubmit, minComplete, flags, 0, 0));
}

export function ioUringRegister(fd: number, opcode: number, argument: number, count: number): number {
  const c = libc!;
  return orErrno(c, c.register(SYSCALLS.__NR_io_uring_register, fd, opcode, BigInt(argument), count));
}

const AIO_CALLS = aioSyscalls(process.arch);

/** The context's number is written to `context`, which must hold 0. */
export function ioSetup(events: number, context: number): number {
  const c = bound();
  return orErrno(c, c.aio(AIO_CALLS.__NR_io_setup, events, context, 0));
}

/** Waits for requests in flight. */
export function ioDestroy(context: number): number {
  const c = bound();
  return orErrno(c, c.aio(AIO_CALLS.__NR_io_destroy, context, 0, 0));
}

/** How many of the `count` requests were taken, or what's wrong with the first. */
export function ioSubmit(context: number, count: number, pointers: number): number {
  const c = libc!;
  return orErrno(c, c.aio(AIO_CALLS.__NR_io_submit, context, count, pointers));
}

export function ioCancel(context: number, iocb: number, event: number): number {
  const c = libc!;
  return orErrno(c, c.aio(AIO_CALLS.__NR_io_cancel, context, iocb, event));
}

export function ioGetevents(context: number, min: number, max: number, events: number, timeout: number): number {
  const c = libc!;
  return orErrno(c, c.getevents(AIO_CALLS.__NR_io_getevents, context, min, max, events, timeout));
}

/** The address, or -errno. */
export function mmap(bytes: number, protection: number, flags: number, fd: number, offset: number): number {
  const c = bound();
  return orErrno(c, c.mmap(0, bytes, protection, flags, fd, offset));
}

/** In place of what is mapped there. 0, or -errno. */
export function mapOver(
  address: number,
  bytes: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
): number {
  const c = bound();
  const at = orErrno(c, c.mmap(address, bytes, protection, flags | MMAN.MAP_FIXED, fd, offset));
  return Math.min(0, at);
}

export function msync(address: number, bytes: number, flags: number): number {
  const c = bound();
  return orErrno(c, c.msync(address, bytes, flags));
}

/** Makes room in a file, and the file so long, unless `mode` says otherwise. */
export function fallocate(fd: number, mode: number, offset: number, bytes: number): number {
  const c = bound();
  return orErrno(c, c.fallocate(fd, mode, offset, bytes));
}

export function munmap(address: number, bytes: number): number {
  const c = bound();
  return orErrno(c, c.munmap(address, bytes));
}

export function madvise(address: number, bytes: number, advice: number): number {
  const c = bound();
  return orErrno(c, c.madvise(address, bytes, advice));
}

export function mprotect(address: number, bytes: number, protection: number): number {
  const c = bound();
  return orErrno(c, c.mprotect(address, bytes, protection));
}

const NUMA_CALLS = numaSyscalls(process.arch);

/**
 * Moves pages of this process to a node, or, with null, only looks where they are. Each page's answer goes to `status`: its node, or
 * -errno. Returns 0, or how many it gave up on, or -errno.
 */
export function movePages(pages: readonly number[], node: number | null, status: Int32Array): number {
  const c = bound();
  const addresses = BigUint64Array.from(pages, BigInt);
  const nodes = node === null ? null : new Int32Array(pages.length).fill(node);
  const flags = MEMPOLICY.MPOL_MF_MOVE;
  return orErrno(c, c.movePages(NUMA_CALLS.__NR_move_pages, 0, pages.length, addresses, nodes, status, flags));
}

export function fcntl(fd: number, command: number, argument = 0): number {
  const c = bound();
  return orErrno(c, c.fcntl(fd, command, argument));
}

/** `argument`: a number or an address, as the request has it. */
export function ioctl(fd: number, request: number, argument: number): number {
  const c = bound();
  return orErrno(c, c.ioctl(fd, request, argument));
}

/** A descriptor, or -errno. */
export function userfaultfd(flags: number): number {
  const c = bound();
  return orErrno(c, c.userfaultfd(userfaultfdSyscall(process.arch), flags));
}

export function close(fd: number): number {
  const c = bound();
  return orErrno(c, c.close(fd));
}

export function eventfd(flags: number): number {
  const c = bound();
  return orErrno(c, c.eventfd(0, flags));
}

/** Makes `to` another name of what `from` is; what `to` was is closed. */
export function dup3(from: number, to: number, flags: number): number {
  const c = bound();
  return orErrno(c, c.dup3(from, to, flags));
}

/** Both descriptors, or -errno. */
export function socketpair(domain: number, type: number): readonly [number, number] | number {
  const c = bound();
  const fds = new Int32Array(2);
  const result = orErrno(c, c.socketpair(domain, type, 0, fds));
  return result < 0 ? result : [fds[0]!, fds[1]!];
}

/** Who is at the other end of a socket of AF_UNIX: who connected, or who listens; or -errno. */
export function peerOf(fd: number): { readonly pid: number; readonly uid: number } | number {
  const c = bound();
  const value = new Int32Array(UCRED.size / 4);
  const result = orErrno(c, c.getsockopt(fd, SOCKET.SOL_SOCKET, SOCKET.SO_PEERCRED, value, Int32Array.of(UCRED.size)));
  if (result < 0) return result;
  return { pid: value[UCRED.fields.pid / 4]!, uid: value[UCRED.fields.uid / 4]! >>> 0 };
}

export function statx(fd: number, flags: number, mask: number, buffer: Uint8Array): number {
  const c = bound();
  return orErrno(c, c.statx(fd, "", flags, mask, buffer));
}

/** 0, or -errno. */
export function faccessat(path: string, mode: number, flags: number): number {
  const c = bound();
  return orErrno(c, c.faccessat(FCNTL.AT_FDCWD, path, mode, flags));
}

/** The soft limit, Infinity where there is none; or -errno. */
export function getrlimit(resource: number): number {
  const c = bound();
  const limits = new BigUint64Array(RLIMIT.size / 8);
  const result = orErrno(c, c.getrlimit(resource, limits));
  if (result < 0) return result;
  const soft = limits[RLIMIT.fields.rlim_cur / 8]!;
  return soft === 0xffffffffffffffffn ? Number.POSITIVE_INFINITY : Number(soft);
}

export function geteuid(): number {
  return bound().geteuid();
}

export function read(fd: number, memory: number, bytes: number): number {
  const c = bound();
  return orErrno(c, c.read(fd, memory, bytes));
}

/** 0, or why not: EBADF, or ESPIPE where a file has no positions. Nothing is transferred, and no driver is asked. */
export function pread0(fd: number): number {
  const c = bound();
  return orErrno(c, c.preadv(fd, 0, 0, 0));
}

export function pwrite0(fd: number): number {
  const c = bound();
  return orErrno(c, c.pwritev(fd, 0, 0, 0));
}

/** The position, or -errno. */
export function lseek(fd: number, offset: number, whence: number): number {
  const c = bound();
  return orErrno(c, c.lseek(fd, offset, whence));
}

export function epollCreate(flags: number): number {
  const c = bound();
  return orErrno(c, c.epollCreate(flags));
}

/** `event`: a struct epoll_event, whose first four bytes are the mask. */
export function epollControl(epoll: number, operation: number, fd: number, event: Uint8Array): number {
  const c = bound();
  return orErrno(c, c.epollControl(epoll, operation, fd, event));
}

/** How many are ready. */
export function epollWait(epoll: number, timeoutMs: number): number {
  const c = bound();
  return orErrno(c, c.epollWait(epoll, new Uint8Array(EPOLL_EVENT_BYTES), 1, timeoutMs));
}

/** The number of the thread that calls. */
export function gettid(): number {
  return bound().aio(memorySyscalls(process.arch).__NR_gettid, 0, 0, 0);
}

/** The time that a thread of this process has run so far, in milliseconds; -1 if it has ended. */
export function threadCpuMs(tid: number): number {
  const time = new BigInt64Array(TIMESPEC.size / 8);
  // A thread's clock has a number made of its own: ~tid, then CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED (linux/posix-timers.h).
  if (bound().clockGettime((~tid << 3) | 6, time) < 0) return -1;
  return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
}

export function prctl(option: number, argument: number): number {
  const c = bound();
  return orErrno(c, c.prctl(option, argument, 0, 0, 0));
}

/** The calling thread, and threads that it starts later, run on one processor. */
export function setAffinity(processor: number): number {
  const c = bound();
  const mask = new Uint8Array(128);
  mask[processor >> 3] = 1 << (processor & 7);
  return orErrno(c, c.setAffinity(0, mask.length, mask));
}

/**
 * Closes `fd` when this thread's environment is torn down, also by `worker.terminate()`, which runs no JavaScript: a ring that stays
 * open keeps its pins for ever. Returns the function that takes it back, for whoever closes `fd` earlier.
 */
export function closeAtTeardown(fd: number): () => void {
  const c = bound();
  const env = (c.koffi as unknown as { node: { env: bigint } }).node.env;
  c.addHook(env, c.closeSymbol, fd);
  return () => {
    c.removeHook(env, c.closeSymbol, fd);
  };
}

/** What a semaphore of the C library takes (sizeof(sem_t), in glibc and musl alike). */
export const SEMAPHORE_BYTES = 32;

/**
 * Adds one to the first word of `memory`, of `SEMAPHORE_BYTES`, when this thread's environment is torn down; the last asked for comes first.
 * No JavaScript runs then: what it takes is a function of one argument that changes memory. To sem_post such memory is a semaphore, whose
 * count is that word, and that nobody waits for. Returns the function that takes it back.
 */
export function raiseAtTeardown(memory: SharedArrayBuffer): () => void {
  const c = bound();
  const env = (c.koffi as unknown as { node: { env: bigint } }).node.env;
  const address = addressOf(memory);
  c.addHook(env, c.postSymbol, address);
  return () => {
    c.removeHook(env, c.postSymbol, address);
  };
}
