/**
 * Numbers of the Linux ABI as data: <linux/io_uring.h> of 6.18, <linux/aio_abi.h>, <asm-generic/…>, <linux/stat.h>,
 * <linux/userfaultfd.h>. A test compares each with the C headers of x86-64 and arm64.
 */

/** A table for each architecture, chosen by `process.arch`. */
function byArch<X64 extends Record<string, number>>(x64: X64, arm64: Readonly<Record<keyof X64, number>>) {
  return (arch: string): Readonly<Record<keyof X64, number>> => (arch === "arm64" ? arm64 : x64);
}

export const IO_URING = {
  IORING_OP_NOP: 0,
  IORING_OP_READ_FIXED: 4,
  IORING_OP_WRITE_FIXED: 5,
  IORING_OP_POLL_ADD: 6,
  IORING_OP_ASYNC_CANCEL: 14,
  IORING_OP_READ: 22,
  IORING_OP_WRITE: 23,
  IORING_OP_SEND: 26,
  IOSQE_FIXED_FILE: 1 << 0,
  IOSQE_IO_HARDLINK: 1 << 3,
  IOSQE_ASYNC: 1 << 4,
  IOSQE_CQE_SKIP_SUCCESS: 1 << 6,
  IORING_SETUP_CQSIZE: 1 << 3,
  IORING_SETUP_CLAMP: 1 << 4,
  IORING_SETUP_COOP_TASKRUN: 1 << 8,
  IORING_SETUP_TASKRUN_FLAG: 1 << 9,
  IORING_SETUP_NO_MMAP: 1 << 14,
  IORING_ENTER_GETEVENTS: 1 << 0,
  IORING_ENTER_EXT_ARG: 1 << 3,
  IORING_SQ_CQ_OVERFLOW: 1 << 1,
  IORING_SQ_TASKRUN: 1 << 2,
  IORING_FEAT_SINGLE_MMAP: 1 << 0,
  IORING_FEAT_EXT_ARG: 1 << 8,
  IORING_OFF_SQES: 0x10000000,
  IORING_REGISTER_FILES_UPDATE: 6,
  IORING_REGISTER_FILES2: 13,
  IORING_REGISTER_BUFFERS2: 15,
  IORING_REGISTER_BUFFERS_UPDATE: 16,
  IORING_RSRC_REGISTER_SPARSE: 1 << 0,
} as const;

/** System calls without a wrapper in libc, the same on both architectures. */
export const SYSCALLS = {
  __NR_io_uring_setup: 425,
  __NR_io_uring_enter: 426,
  __NR_io_uring_register: 427,
  __NR_cachestat: 451,
} as const;

/** preadv2(2) and pwritev2(2), for which musl has wrappers only from 1.2.5 on. */
export const transferSyscalls = byArch(
  { __NR_preadv2: 327, __NR_pwritev2: 328 },
  { __NR_preadv2: 286, __NR_pwritev2: 287 },
);

/** Numbers of Linux AIO's system calls: they're older than the table that newer architectures share. */
export const aioSyscalls = byArch(
  {
    __NR_io_setup: 206,
    __NR_io_destroy: 207,
    __NR_io_getevents: 208,
    __NR_io_submit: 209,
    __NR_io_cancel: 210,
  },
  {
    __NR_io_setup: 0,
    __NR_io_destroy: 1,
    __NR_io_submit: 2,
    __NR_io_cancel: 3,
    __NR_io_getevents: 4,
  },
);
const userfaultfdSyscalls = byArch({ __NR_userfaultfd: 323 }, { __NR_userfaultfd: 282 });
export function userfaultfdSyscall(arch: string): number {
  return userfaultfdSyscalls(arch).__NR_userfaultfd;
}

/** System calls that change what is at an address, by the numbers that /proc/PID/syscall shows, with their kinds. */
export const memorySyscalls = byArch(
  {
    __NR_mmap: 9,
    __NR_munmap: 11,
    __NR_mremap: 25,
    __NR_madvise: 28,
    __NR_process_madvise: 440,
    __NR_gettid: 186,
  },
  {
    __NR_mmap: 222,
    __NR_munmap: 215,
    __NR_mremap: 216,
    __NR_madvise: 233,
    __NR_process_madvise: 440,
    __NR_gettid: 178,
  },
);
/** Constants of userfaultfd. Its ioctl requests contain the size of their argument (_IOWR, _IO). */
export const UFFD = {
  UFFD_USER_MODE_ONLY: 1,
  UFFD_API: 0xaa,
  UFFDIO_API: 0xc018aa3f,
  UFFDIO_REGISTER: 0xc020aa00,
  UFFDIO_UNREGISTER: 0x8010aa01,
  UFFDIO_REGISTER_MODE_WP: 1 << 1,
  UFFD_FEATURE_PAGEFAULT_FLAG_WP: 1 << 0,
  UFFD_FEATURE_EVENT_REMAP: 1 << 2,
  UFFD_FEATURE_EVENT_REMOVE: 1 << 3,
  UFFD_FEATURE_EVENT_UNMAP: 1 << 6,
  UFFD_FEATURE_WP_ASYNC: 1 << 15,
  UFFD_EVENT_REMAP: 0x14,
  UFFD_EVENT_REMOVE: 0x15,
  UFFD_EVENT_UNMAP: 0x16,
} as const;

export const numaSyscalls = byArch(
  { __NR_move_pages: 279, __NR_getcpu: 309, __NR_get_mempolicy: 239 },
  { __NR_move_pages: 239, __NR_getcpu: 168, __NR_get_mempolicy: 236 },
);
export const MEMPOLICY = { MPOL_MF_MOVE: 1 << 1, MPOL_DEFAULT: 0, MPOL_F_NUMA_BALANCING: 1 << 13 } as const;

/**
 * Event mask of struct epoll_event. The mask comes first on every architecture, though the struct is packed on x86-64
 * only.
 */
export const EPOLL = { EPOLL_CLOEXEC: 0o2000000, EPOLL_CTL_ADD: 1, EPOLLIN: 1 } as const;

/** Constants of Linux AIO. RWF_NOWAIT makes a request fail with EAGAIN instead of blocking the caller. */
export const AIO = {
  IOCB_CMD_PREAD: 0,
  IOCB_CMD_PWRITE: 1,
  IOCB_CMD_POLL: 5,
  IOCB_FLAG_RESFD: 1 << 0,
  IOCB_FLAG_IOPRIO: 1 << 1,
  RWF_NOWAIT: 8,
} as const;

export const EVENTFD = { EFD_NONBLOCK: 0o4000, EFD_CLOEXEC: 0o2000000 } as const;

export const MMAN = {
  PROT_READ: 1,
  PROT_WRITE: 2,
  MAP_SHARED: 1,
  MAP_PRIVATE: 2,
  MAP_FIXED: 0x10,
  MAP_ANONYMOUS: 0x20,
  MAP_NORESERVE: 0x4000,
  MREMAP_FIXED: 2,
  MAP_POPULATE: 0x8000,
  MADV_DONTNEED: 4,
  MADV_FREE: 8,
  MADV_DONTFORK: 10,
  MADV_DOFORK: 11,
  MADV_HUGEPAGE: 14,
  MADV_REMOVE: 9,
  MADV_PAGEOUT: 21,
  MADV_POPULATE_READ: 22,
  MADV_POPULATE_WRITE: 23,
  MADV_DONTNEED_LOCKED: 24,
  MADV_COLLAPSE: 25,
  MS_SYNC: 4,
} as const;

export const POLL = { POLLIN: 1, POLLOUT: 4 } as const;

export const SOCKET = {
  AF_UNIX: 1,
  SOCK_STREAM: 1,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
  SOL_SOCKET: 1,
  SO_PEERCRED: 17,
} as const;

export const FCNTL = {
  O_RDONLY: 0,
  O_ACCMODE: 3,
  O_WRONLY: 1,
  O_NOCTTY: 0o400,
  O_APPEND: 0o2000,
  O_DSYNC: 0o10000,
  O_SYNC: 0o4010000,
  O_NONBLOCK: 0o4000,
  O_CLOEXEC: 0o2000000,
  O_PATH: 0o10000000,
  F_RDLCK: 0,
  F_WRLCK: 1,
  F_UNLCK: 2,
  F_GETFL: 3,
  F_OFD_SETLK: 37,
  F_DUPFD_CLOEXEC: 1030,
  AT_FDCWD: -100,
  AT_EACCESS: 0x200,
  AT_EMPTY_PATH: 0x1000,
  AT_STATX_DONT_SYNC: 0x4000,
  R_OK: 4,
  W_OK: 2,
  POSIX_FADV_DONTNEED: 4,
} as const;

/**
 * Open flags that differ by architecture; O_TMPFILE contains O_DIRECTORY.
 * https://elixir.bootlin.com/linux/v6.18/source/arch/arm64/include/uapi/asm/fcntl.h
 */
const openFlags = byArch({ O_DIRECT: 0o40000, O_TMPFILE: 0o20200000 }, { O_DIRECT: 0o200000, O_TMPFILE: 0o20040000 });

export function openDirectFlag(arch: string): number {
  return openFlags(arch).O_DIRECT;
}

/** Open flag for a file without a name in a directory. */
export function temporaryFileFlag(arch: string): number {
  return openFlags(arch).O_TMPFILE;
}

export const STATX = {
  STATX_SIZE: 0x200,
  STATX_MNT_ID: 0x1000,
  STATX_DIOALIGN: 0x2000,
  STATX_WRITE_ATOMIC: 0x10000,
  STATX_DIO_READ_ALIGN: 0x20000,
  STATX_ATTR_COMPRESSED: 4,
} as const;

export const SEEK = { SEEK_SET: 0, SEEK_CUR: 1, SEEK_END: 2, SEEK_DATA: 3, SEEK_HOLE: 4 } as const;

/** Constants of file ioctls, whose requests contain the size of their argument (_IOWR, _IOR, _IOW). */
export const FS_IOC = {
  FS_IOC_FIEMAP: 0xc020660b,
  FS_IOC_GETFLAGS: 0x80086601,
  FS_NOCOMP_FL: 0x400,
  FS_NOCOW_FL: 0x800000,
  FICLONERANGE: 0x4020940d,
} as const;

export const FIEMAP_FLAGS = { FIEMAP_EXTENT_ENCODED: 8 } as const;

/** Magic numbers of filesystems, from statfs(2). */
export const MAGIC = {
  TMPFS_MAGIC: 0x01021994,
  RAMFS_MAGIC: 0x858458f6,
  HUGETLBFS_MAGIC: 0x958458f6,
  BTRFS_SUPER_MAGIC: 0x9123683e,
  EXT4_SUPER_MAGIC: 0xef53,
  XFS_SUPER_MAGIC: 0x58465342,
  F2FS_SUPER_MAGIC: 0xf2f52010,
  OVERLAYFS_SUPER_MAGIC: 0x794c7630,
} as const;

export const RESOURCE = { RLIMIT_MEMLOCK: 8 } as const;

export const PRCTL = { PR_SET_THP_DISABLE: 41, PR_GET_THP_DISABLE: 42 } as const;

export const FALLOC = { FALLOC_FL_KEEP_SIZE: 1, FALLOC_FL_PUNCH_HOLE: 2, FALLOC_FL_ZERO_RANGE: 16 } as const;

export const DLFCN = { RTLD_NOW: 2, RTLD_NOLOAD: 4, RTLD_NODELETE: 0x1000 } as const;

interface NumbersOfHeaders {
  readonly headers: readonly string[];
  readonly values: Readonly<Record<string, number>>;
  readonly perArch?: "x64" | "arm64";
}

function ofEach(header: string, table: (arch: string) => Readonly<Record<string, number>>): NumbersOfHeaders[] {
  return (["x64", "arm64"] as const).map((perArch) => ({ headers: [header], values: table(perArch), perArch }));
}

/** All of these numbers with the headers that define them, for the test. */
export const NUMBERS: readonly NumbersOfHeaders[] = [
  { headers: ["linux/io_uring.h"], values: IO_URING },
  { headers: ["sys/syscall.h"], values: SYSCALLS },
  ...ofEach("sys/syscall.h", transferSyscalls),
  ...ofEach("sys/syscall.h", aioSyscalls),
  ...ofEach("sys/syscall.h", userfaultfdSyscalls),
  { headers: ["sys/ioctl.h", "linux/userfaultfd.h"], values: UFFD },
  ...ofEach("sys/syscall.h", numaSyscalls),
  { headers: ["linux/mempolicy.h"], values: MEMPOLICY },
  ...ofEach("sys/syscall.h", memorySyscalls),
  { headers: ["sys/epoll.h"], values: EPOLL },
  { headers: ["linux/aio_abi.h"], values: AIO },
  { headers: ["sys/eventfd.h"], values: EVENTFD },
  { headers: ["sys/mman.h", "linux/mman.h"], values: MMAN },
  { headers: ["poll.h"], values: POLL },
  { headers: ["sys/socket.h"], values: SOCKET },
  { headers: ["fcntl.h"], values: FCNTL },
  ...ofEach("fcntl.h", openFlags),
  { headers: ["linux/stat.h"], values: STATX },
  { headers: ["linux/fs.h"], values: SEEK },
  { headers: ["linux/fs.h", "linux/fiemap.h"], values: FS_IOC },
  { headers: ["linux/fiemap.h"], values: FIEMAP_FLAGS },
  { headers: ["linux/magic.h"], values: MAGIC },
  { headers: ["sys/resource.h"], values: RESOURCE },
  { headers: ["sys/prctl.h"], values: PRCTL },
  { headers: ["linux/falloc.h"], values: FALLOC },
  { headers: ["dlfcn.h"], values: DLFCN },
];
