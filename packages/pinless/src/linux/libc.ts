/**
 * System calls and functions of the C library: a thin function for each, which returns its result or a negative errno.
 */

import { CACHESTAT, CACHESTAT_RANGE, FILE_CLONE_RANGE, FLOCK, RLIMIT, TIMESPEC, UCRED } from "../abi/layouts.js";
import {
  AIO,
  aioSyscalls,
  FCNTL,
  FS_IOC,
  IO_URING,
  MEMPOLICY,
  MMAN,
  memorySyscalls,
  numaSyscalls,
  SEEK,
  SOCKET,
  SYSCALLS,
  transferSyscalls,
  userfaultfdSyscall,
} from "../abi/numbers.js";
import { addressOf, bound, libc, orErrno } from "./libc-bindings.js";

/** Size of struct epoll_event: 12 bytes on x86-64, where it's packed, 16 elsewhere. */
export const EPOLL_EVENT_BYTES = 16;

export function ioUringSetup(entries: number, params: ArrayBuffer): number {
  return orErrno(bound().setup(SYSCALLS.__NR_io_uring_setup, entries, BigInt(addressOf(params))));
}

export function ioUringEnter(fd: number, toSubmit: number, flags: number): number {
  return orErrno(libc!.enter(SYSCALLS.__NR_io_uring_enter, fd, toSubmit, 0, flags, 0, 0));
}

/**
 * io_uring_enter(2) that waits until so many completions are there.
 *
 * @param limit - Address of a struct io_uring_getevents_arg of `limitBytes`, which says how long at most
 */
export function ioUringEnterAndWait(
  fd: number,
  toSubmit: number,
  completions: number,
  limit: number,
  limitBytes: number,
): number {
  const flags = IO_URING.IORING_ENTER_GETEVENTS | IO_URING.IORING_ENTER_EXT_ARG;
  return orErrno(libc!.enter(SYSCALLS.__NR_io_uring_enter, fd, toSubmit, completions, flags, limit, limitBytes));
}

export function ioUringRegister(fd: number, opcode: number, argument: number, count: number): number {
  return orErrno(libc!.register(SYSCALLS.__NR_io_uring_register, fd, opcode, BigInt(argument), count));
}

const AIO_CALLS = aioSyscalls(process.arch);

/** io_setup(2): writes the context's id to `context`, which must hold 0. */
export function ioSetup(events: number, context: number): number {
  return orErrno(bound().aio(AIO_CALLS.__NR_io_setup, events, context, 0));
}

/** io_destroy(2): waits for requests in flight. */
export function ioDestroy(context: number): number {
  return orErrno(bound().aio(AIO_CALLS.__NR_io_destroy, context, 0, 0));
}

/** io_submit(2): returns how many of the `count` requests were taken, or -errno of the first. */
export function ioSubmit(context: number, count: number, pointers: number): number {
  return orErrno(libc!.aio(AIO_CALLS.__NR_io_submit, context, count, pointers));
}

export function ioCancel(context: number, iocb: number, event: number): number {
  return orErrno(libc!.aio(AIO_CALLS.__NR_io_cancel, context, iocb, event));
}

export function ioGetevents(context: number, min: number, max: number, events: number, timeout: number): number {
  return orErrno(libc!.getevents(AIO_CALLS.__NR_io_getevents, context, min, max, events, timeout));
}

/** mmap(2): returns the address, or -errno. */
export function mmap(bytes: number, protection: number, flags: number, fd: number, offset: number): number {
  return orErrno(bound().mmap(0, bytes, protection, flags, fd, offset));
}

/** mmap(2) with MAP_FIXED, replacing what is mapped there. Returns 0 or -errno. */
export function mapOver(
  address: number,
  bytes: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
): number {
  const at = orErrno(bound().mmap(address, bytes, protection, flags | MMAN.MAP_FIXED, fd, offset));
  return Math.min(0, at);
}

export function msync(address: number, bytes: number, flags: number): number {
  return orErrno(bound().msync(address, bytes, flags));
}

/** fallocate(2): allocates space in a file and extends it, unless `mode` says otherwise. */
export function fallocate(fd: number, mode: number, offset: number, bytes: number): number {
  return orErrno(bound().fallocate(fd, mode, offset, bytes));
}

/** Drops the clean pages that the page cache has of a file. */
export function forgetCached(fd: number): void {
  bound().posix_fadvise(fd, 0, 0, FCNTL.POSIX_FADV_DONTNEED);
}

/** A part of a file: where it begins. */
interface Place {
  readonly fd: number;
  readonly position: number;
}

/** copy_file_range(2): returns the number of bytes copied, 0 at the end of the file, or -errno. */
export function copyFileRange(from: Place, to: Place, bytes: number): number {
  const [position, toPosition] = [from, to].map((place) => BigInt64Array.of(BigInt(place.position)));
  return orErrno(bound().copyFileRange(from.fd, position!, to.fd, toPosition!, bytes, 0));
}

/** ioctl_ficlonerange(2): returns the number of bytes that the files share, all of them, or -errno. */
export function cloneRange(from: Place, to: Place, bytes: number): number {
  const { size, fields } = FILE_CLONE_RANGE;
  const range = new BigInt64Array(size / 8);
  range[fields.src_fd / 8] = BigInt(from.fd);
  range[fields.src_offset / 8] = BigInt(from.position);
  range[fields.src_length / 8] = BigInt(bytes);
  range[fields.dest_offset / 8] = BigInt(to.position);
  const errno = ioctl(to.fd, FS_IOC.FICLONERANGE, addressOf(range.buffer));
  return errno < 0 ? errno : bytes;
}

export function munmap(address: number, bytes: number): number {
  return orErrno(bound().munmap(address, bytes));
}

export function madvise(address: number, bytes: number, advice: number): number {
  return orErrno(bound().madvise(address, bytes, advice));
}

export function mprotect(address: number, bytes: number, protection: number): number {
  return orErrno(bound().mprotect(address, bytes, protection));
}

const NUMA_CALLS = numaSyscalls(process.arch);

/**
 * move_pages(2) on this process: moves pages to a node, or, with null, only reports where they are. `status` gets each
 * page's node or -errno. Returns 0, the number of pages it gave up on, or -errno.
 */
export function movePages(pages: readonly number[], node: number | null, status: Int32Array): number {
  const addresses = BigUint64Array.from(pages, BigInt);
  const nodes = node === null ? null : new Int32Array(pages.length).fill(node);
  const flags = MEMPOLICY.MPOL_MF_MOVE;
  return orErrno(bound().movePages(NUMA_CALLS.__NR_move_pages, 0, pages.length, addresses, nodes, status, flags));
}

/** getcpu(2): the NUMA node that the calling thread runs on, or -errno. */
export function nodeOfThread(): number {
  const node = new Uint32Array(1);
  const result = orErrno(bound().getcpu(NUMA_CALLS.__NR_getcpu, null, node, null));
  return result < 0 ? result : node[0]!;
}

/** get_mempolicy(2): the mode of the calling thread's policy, with its flags, or -errno. */
export function memoryPolicy(): number {
  const mode = new Int32Array(1);
  const result = orErrno(bound().getMempolicy(NUMA_CALLS.__NR_get_mempolicy, mode, null, 0, null, 0));
  return result < 0 ? result : mode[0]!;
}

export function fcntl(fd: number, command: number, argument = 0): number {
  return orErrno(bound().fcntl(fd, command, argument));
}

/** F_OFD_SETLK: locks a part of a file for the open description, or unlocks it. 0 bytes are all from `start` on. */
export function setLock(fd: number, type: number, start: number, bytes: number): number {
  const { size, fields } = FLOCK;
  const lock = new BigInt64Array(size / 8);
  new Int16Array(lock.buffer).set([type, SEEK.SEEK_SET], fields.l_type / 2);
  lock[fields.l_start / 8] = BigInt(start);
  lock[fields.l_len / 8] = BigInt(bytes);
  return fcntl(fd, FCNTL.F_OFD_SETLK, addressOf(lock.buffer));
}

/** ioctl(2). `argument` is a number or an address, depending on the request. */
export function ioctl(fd: number, request: number, argument: number): number {
  return orErrno(bound().ioctl(fd, request, argument));
}

/** userfaultfd(2): returns a descriptor, or -errno. */
export function userfaultfd(flags: number): number {
  return orErrno(bound().userfaultfd(userfaultfdSyscall(process.arch), flags));
}

export function close(fd: number): number {
  return orErrno(bound().close(fd));
}

export function eventfd(flags: number): number {
  return orErrno(bound().eventfd(0, flags));
}

/** dup3(2): makes `to` a duplicate of `from`, closing what `to` was before. */
export function dup3(from: number, to: number, flags: number): number {
  return orErrno(bound().dup3(from, to, flags));
}

/** socketpair(2): returns both descriptors, or -errno. */
export function socketpair(domain: number, type: number): readonly [number, number] | number {
  const fds = new Int32Array(2);
  const result = orErrno(bound().socketpair(domain, type, 0, fds));
  return result < 0 ? result : [fds[0]!, fds[1]!];
}

/**
 * SO_PEERCRED: the process at the other end of an AF_UNIX socket, at the time it connected or began to listen; or
 * -errno.
 */
export function peerOf(fd: number): { readonly pid: number; readonly uid: number } | number {
  const value = new Int32Array(UCRED.size / 4);
  const result = orErrno(
    bound().getsockopt(fd, SOCKET.SOL_SOCKET, SOCKET.SO_PEERCRED, value, Int32Array.of(UCRED.size)),
  );
  if (result < 0) return result;
  return { pid: value[UCRED.fields.pid / 4]!, uid: value[UCRED.fields.uid / 4]! >>> 0 };
}

export function statx(fd: number, flags: number, mask: number, buffer: Uint8Array): number {
  return orErrno(bound().statx(fd, "", flags, mask, buffer));
}

/** faccessat2(2): returns 0 or -errno. */
export function faccessat(path: string, mode: number, flags: number): number {
  return orErrno(bound().faccessat(FCNTL.AT_FDCWD, path, mode, flags));
}

/** getrlimit(2): returns the soft limit, Infinity if there is none, or -errno. */
export function getrlimit(resource: number): number {
  const limits = new BigUint64Array(RLIMIT.size / 8);
  const result = orErrno(bound().getrlimit(resource, limits));
  if (result < 0) return result;
  const soft = limits[RLIMIT.fields.rlim_cur / 8]!;
  return soft === 0xffffffffffffffffn ? Number.POSITIVE_INFINITY : Number(soft);
}

export function geteuid(): number {
  return bound().geteuid();
}

export function read(fd: number, memory: number, bytes: number): number {
  return orErrno(bound().read(fd, memory, bytes));
}

/**
 * cachestat(2): returns the number of a file's pages that are in the page cache, or -errno. EPERM: the caller may not
 * write the file, and doesn't own it.
 */
export function cachestat(fd: number, position: number, bytes: number): number {
  statRange[CACHESTAT_RANGE.fields.off / 8] = BigInt(position);
  statRange[CACHESTAT_RANGE.fields.len / 8] = BigInt(bytes);
  const errno = orErrno(bound().cachestat(SYSCALLS.__NR_cachestat, fd, statRange, statCounts, 0));
  return errno < 0 ? errno : Number(statCounts[CACHESTAT.fields.nr_cache / 8]);
}

const statRange = new BigUint64Array(CACHESTAT_RANGE.size / 8);
const statCounts = new BigUint64Array(CACHESTAT.size / 8);

/**
 * preadv2(2) with RWF_NOWAIT: reads what is in the page cache. `buffers` is the address of one struct iovec. EAGAIN:
 * nothing is; EOPNOTSUPP: the filesystem has no such reads.
 */
export function readNow(fd: number, buffers: number, position: number): number {
  return orErrno(bound().transfer2(TRANSFERS.__NR_preadv2, fd, buffers, 1, position, 0, AIO.RWF_NOWAIT));
}

/** A call of preadv2(2) or pwritev2(2). A position of -1 is the open description's own. */
interface Transfer {
  readonly writes: boolean;
  readonly fd: number;
  /** Number of struct iovec. */
  readonly count: number;
  readonly position: number | bigint;
  readonly flags: number;
}

/** Makes a transfer on libuv's thread pool. `buffers` is the address of its struct iovec. */
export function transferLater(
  buffers: number,
  { writes, fd, count, position, flags }: Transfer,
  done: (result: number) => void,
): void {
  const nr = writes ? TRANSFERS.__NR_pwritev2 : TRANSFERS.__NR_preadv2;
  bound().transfer2.async(nr, fd, buffers, count, position, 0, flags, (_error, result) => done(orErrno(result)));
}

const TRANSFERS = transferSyscalls(process.arch);

/**
 * pread(2) of 0 bytes, which transfers nothing and doesn't reach a driver. Returns 0, -EBADF, or -ESPIPE if the file
 * has no positions.
 */
export function pread0(fd: number): number {
  return orErrno(bound().preadv(fd, 0, 0, 0));
}

export function pwrite0(fd: number): number {
  return orErrno(bound().pwritev(fd, 0, 0, 0));
}

/** lseek(2): returns the position, or -errno. */
export function lseek(fd: number, offset: number, whence: number): number {
  return orErrno(bound().lseek(fd, offset, whence));
}

export function epollCreate(flags: number): number {
  return orErrno(bound().epollCreate(flags));
}

/** epoll_ctl(2). `event` is a struct epoll_event, whose first four bytes are the mask. */
export function epollControl(epoll: number, operation: number, fd: number, event: Uint8Array): number {
  return orErrno(bound().epollControl(epoll, operation, fd, event));
}

/** epoll_wait(2): returns the number of ready descriptors. */
export function epollWait(epoll: number, timeoutMs: number): number {
  return orErrno(bound().epollWait(epoll, new Uint8Array(EPOLL_EVENT_BYTES), 1, timeoutMs));
}

/** gettid(2): id of the calling thread. */
export function gettid(): number {
  return bound().aio(memorySyscalls(process.arch).__NR_gettid, 0, 0, 0);
}

/** CPU time that a thread of this process has used, in milliseconds; -1 if it has ended. */
export function threadCpuMs(tid: number): number {
  const time = new BigInt64Array(TIMESPEC.size / 8);
  // The clock id of a thread is made of ~tid and CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED (linux/posix-timers.h).
  if (bound().clockGettime((~tid << 3) | 6, time) < 0) return -1;
  return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
}

export function prctl(option: number, argument: number): number {
  return orErrno(bound().prctl(option, argument, 0, 0, 0));
}

/** sched_setaffinity(2): pins the calling thread, and threads that it starts later, to one processor. */
export function setAffinity(processor: number): number {
  const mask = new Uint8Array(128);
  mask[processor >> 3] = 1 << (processor & 7);
  return orErrno(bound().setAffinity(0, mask.length, mask));
}
