/**
 * Struct layouts of the Linux ABI as data: sizes and offsets in bytes, the same on x86-64 and arm64. A test compares
 * each with the C headers.
 */

export interface Layout {
  readonly headers: readonly string[];
  readonly size: number;
  readonly fields: Readonly<Record<string, number>>;
}

export const SQE = {
  headers: ["linux/io_uring.h"],
  size: 64,
  fields: {
    opcode: 0,
    flags: 1,
    ioprio: 2,
    fd: 4,
    off: 8,
    addr: 16,
    len: 24,
    rw_flags: 28,
    poll32_events: 28,
    cancel_flags: 28,
    user_data: 32,
    buf_index: 40,
  },
} as const satisfies Layout;

export const CQE = {
  headers: ["linux/io_uring.h"],
  size: 16,
  fields: { user_data: 0, res: 8, flags: 12 },
} as const satisfies Layout;

export const PARAMS = {
  headers: ["linux/io_uring.h"],
  size: 120,
  fields: { sq_entries: 0, cq_entries: 4, flags: 8, features: 20, sq_off: 40, cq_off: 80 },
} as const satisfies Layout;

export const SQ_OFFSETS = {
  headers: ["linux/io_uring.h"],
  size: 40,
  fields: { head: 0, tail: 4, ring_mask: 8, ring_entries: 12, flags: 16, dropped: 20, array: 24, user_addr: 32 },
} as const satisfies Layout;

export const CQ_OFFSETS = {
  headers: ["linux/io_uring.h"],
  size: 40,
  fields: { head: 0, tail: 4, ring_mask: 8, ring_entries: 12, overflow: 16, cqes: 20, flags: 24, user_addr: 32 },
} as const satisfies Layout;

export const RSRC_REGISTER = {
  headers: ["linux/io_uring.h"],
  size: 32,
  fields: { nr: 0, flags: 4, data: 16, tags: 24 },
} as const satisfies Layout;

export const RSRC_UPDATE2 = {
  headers: ["linux/io_uring.h"],
  size: 32,
  fields: { offset: 0, data: 8, tags: 16, nr: 24 },
} as const satisfies Layout;

export const FILES_UPDATE = {
  headers: ["linux/io_uring.h"],
  size: 16,
  fields: { offset: 0, fds: 8 },
} as const satisfies Layout;

export const IOVEC = {
  headers: ["sys/uio.h"],
  size: 16,
  fields: { iov_base: 0, iov_len: 8 },
} as const satisfies Layout;

export const IOCB = {
  headers: ["linux/aio_abi.h"],
  size: 64,
  fields: {
    aio_data: 0,
    aio_rw_flags: 12,
    aio_lio_opcode: 16,
    aio_fildes: 20,
    aio_buf: 24,
    aio_nbytes: 32,
    aio_offset: 40,
    aio_flags: 56,
    aio_resfd: 60,
  },
} as const satisfies Layout;

export const IO_EVENT = {
  headers: ["linux/aio_abi.h"],
  size: 32,
  fields: { data: 0, obj: 8, res: 16, res2: 24 },
} as const satisfies Layout;

export const RLIMIT = {
  headers: ["sys/resource.h"],
  size: 16,
  fields: { rlim_cur: 0, rlim_max: 8 },
} as const satisfies Layout;

export const UCRED = {
  headers: ["sys/socket.h"],
  size: 12,
  fields: { pid: 0, uid: 4, gid: 8 },
} as const satisfies Layout;

export const STATX_BUFFER = {
  headers: ["linux/stat.h"],
  size: 256,
  fields: {
    stx_mask: 0,
    stx_attributes: 8,
    stx_size: 40,
    stx_mnt_id: 144,
    stx_dio_mem_align: 152,
    stx_dio_offset_align: 156,
  },
} as const satisfies Layout;

export const CACHESTAT_RANGE = {
  headers: ["linux/mman.h"],
  size: 16,
  fields: { off: 0, len: 8 },
} as const satisfies Layout;

export const CACHESTAT = { headers: ["linux/mman.h"], size: 40, fields: { nr_cache: 0 } } as const satisfies Layout;

/** struct fiemap, which the extents follow. */
export const FIEMAP = {
  headers: ["linux/types.h", "linux/fiemap.h"],
  size: 32,
  fields: { fm_start: 0, fm_length: 8, fm_flags: 16, fm_mapped_extents: 20, fm_extent_count: 24 },
} as const satisfies Layout;

export const FIEMAP_EXTENT = {
  headers: ["linux/types.h", "linux/fiemap.h"],
  size: 56,
  fields: { fe_logical: 0, fe_flags: 40 },
} as const satisfies Layout;

export const UFFDIO_API = {
  headers: ["linux/userfaultfd.h"],
  size: 24,
  fields: { api: 0, features: 8 },
} as const satisfies Layout;

export const UFFDIO_REGISTER = {
  headers: ["linux/userfaultfd.h"],
  size: 32,
  fields: { range: 0, mode: 16 },
} as const satisfies Layout;

export const UFFDIO_RANGE = {
  headers: ["linux/userfaultfd.h"],
  size: 16,
  fields: { start: 0, len: 8 },
} as const satisfies Layout;

export const UFFD_MSG = {
  headers: ["linux/userfaultfd.h"],
  size: 32,
  fields: { event: 0, "arg.remove.start": 8, "arg.remove.end": 16, "arg.remap.from": 8, "arg.remap.len": 24 },
} as const satisfies Layout;

export const TIMESPEC = {
  headers: ["time.h"],
  size: 16,
  fields: { tv_sec: 0, tv_nsec: 8 },
} as const satisfies Layout;

/** All layouts, by the names of their C structs. */
export const LAYOUTS: Readonly<Record<string, Layout>> = {
  io_uring_sqe: SQE,
  io_uring_cqe: CQE,
  io_uring_params: PARAMS,
  io_sqring_offsets: SQ_OFFSETS,
  io_cqring_offsets: CQ_OFFSETS,
  io_uring_rsrc_register: RSRC_REGISTER,
  io_uring_rsrc_update2: RSRC_UPDATE2,
  io_uring_files_update: FILES_UPDATE,
  iovec: IOVEC,
  iocb: IOCB,
  io_event: IO_EVENT,
  rlimit: RLIMIT,
  ucred: UCRED,
  statx: STATX_BUFFER,
  cachestat_range: CACHESTAT_RANGE,
  cachestat: CACHESTAT,
  fiemap: FIEMAP,
  fiemap_extent: FIEMAP_EXTENT,
  uffdio_api: UFFDIO_API,
  uffdio_register: UFFDIO_REGISTER,
  uffdio_range: UFFDIO_RANGE,
  uffd_msg: UFFD_MSG,
  timespec: TIMESPEC,
};
