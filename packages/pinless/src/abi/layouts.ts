/**
 * Struct layouts of the Linux ABI as data: sizes and offsets in bytes, the same on x86-64 and arm64. A test compares
 * each with the C headers.
 */

export interface Layout {
  readonly headers: readonly string[];
  readonly size: number;
  readonly fields: Readonly<Record<string, number>>;
}

function layout<const Fields extends Layout["fields"]>(headers: readonly string[], size: number, fields: Fields) {
  return { headers, size, fields };
}

export const SQE = layout(["linux/io_uring.h"], 64, {
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
});

export const CQE = layout(["linux/io_uring.h"], 16, { user_data: 0, res: 8, flags: 12 });

export const PARAMS = layout(["linux/io_uring.h"], 120, {
  sq_entries: 0,
  cq_entries: 4,
  flags: 8,
  features: 20,
  sq_off: 40,
  cq_off: 80,
});

export const SQ_OFFSETS = layout(["linux/io_uring.h"], 40, {
  head: 0,
  tail: 4,
  ring_mask: 8,
  ring_entries: 12,
  flags: 16,
  dropped: 20,
  array: 24,
  user_addr: 32,
});

export const CQ_OFFSETS = layout(["linux/io_uring.h"], 40, {
  head: 0,
  tail: 4,
  ring_mask: 8,
  ring_entries: 12,
  overflow: 16,
  cqes: 20,
  flags: 24,
  user_addr: 32,
});

export const RSRC_REGISTER = layout(["linux/io_uring.h"], 32, { nr: 0, flags: 4, data: 16, tags: 24 });

export const RSRC_UPDATE2 = layout(["linux/io_uring.h"], 32, { offset: 0, data: 8, tags: 16, nr: 24 });

export const FILES_UPDATE = layout(["linux/io_uring.h"], 16, { offset: 0, fds: 8 });

export const GETEVENTS_ARG = layout(["linux/io_uring.h"], 24, { ts: 16 });

export const IOVEC = layout(["sys/uio.h"], 16, { iov_base: 0, iov_len: 8 });

export const IOCB = layout(["linux/aio_abi.h"], 64, {
  aio_data: 0,
  aio_rw_flags: 12,
  aio_lio_opcode: 16,
  aio_fildes: 20,
  aio_buf: 24,
  aio_nbytes: 32,
  aio_offset: 40,
  aio_flags: 56,
  aio_resfd: 60,
});

export const IO_EVENT = layout(["linux/aio_abi.h"], 32, { data: 0, obj: 8, res: 16, res2: 24 });

export const RLIMIT = layout(["sys/resource.h"], 16, { rlim_cur: 0, rlim_max: 8 });

export const UCRED = layout(["sys/socket.h"], 12, { pid: 0, uid: 4, gid: 8 });

export const STATX_BUFFER = layout(["linux/stat.h"], 256, {
  stx_mask: 0,
  stx_attributes: 8,
  stx_size: 40,
  stx_mnt_id: 144,
  stx_dio_mem_align: 152,
  stx_dio_offset_align: 156,
  stx_atomic_write_unit_min: 168,
  stx_atomic_write_unit_max: 172,
  stx_atomic_write_segments_max: 176,
  stx_dio_read_offset_align: 180,
});

export const CACHESTAT_RANGE = layout(["linux/mman.h"], 16, { off: 0, len: 8 });

export const CACHESTAT = layout(["linux/mman.h"], 40, { nr_cache: 0 });

export const FILE_CLONE_RANGE = layout(["linux/fs.h"], 32, {
  src_fd: 0,
  src_offset: 8,
  src_length: 16,
  dest_offset: 24,
});

export const FLOCK = layout(["fcntl.h"], 32, { l_type: 0, l_whence: 2, l_start: 8, l_len: 16, l_pid: 24 });

/** struct fiemap, which the extents follow. */
export const FIEMAP = layout(["linux/types.h", "linux/fiemap.h"], 32, {
  fm_start: 0,
  fm_length: 8,
  fm_flags: 16,
  fm_mapped_extents: 20,
  fm_extent_count: 24,
});

export const FIEMAP_EXTENT = layout(["linux/types.h", "linux/fiemap.h"], 56, { fe_logical: 0, fe_flags: 40 });

export const UFFDIO_API = layout(["linux/userfaultfd.h"], 24, { api: 0, features: 8 });

export const UFFDIO_REGISTER = layout(["linux/userfaultfd.h"], 32, { range: 0, mode: 16 });

export const UFFDIO_RANGE = layout(["linux/userfaultfd.h"], 16, { start: 0, len: 8 });

export const UFFD_MSG = layout(["linux/userfaultfd.h"], 32, {
  event: 0,
  "arg.remove.start": 8,
  "arg.remove.end": 16,
  "arg.remap.from": 8,
  "arg.remap.len": 24,
});

export const TIMESPEC = layout(["time.h"], 16, { tv_sec: 0, tv_nsec: 8 });

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
  io_uring_getevents_arg: GETEVENTS_ARG,
  iovec: IOVEC,
  iocb: IOCB,
  io_event: IO_EVENT,
  rlimit: RLIMIT,
  ucred: UCRED,
  statx: STATX_BUFFER,
  cachestat_range: CACHESTAT_RANGE,
  cachestat: CACHESTAT,
  file_clone_range: FILE_CLONE_RANGE,
  flock: FLOCK,
  fiemap: FIEMAP,
  fiemap_extent: FIEMAP_EXTENT,
  uffdio_api: UFFDIO_API,
  uffdio_register: UFFDIO_REGISTER,
  uffdio_range: UFFDIO_RANGE,
  uffd_msg: UFFD_MSG,
  timespec: TIMESPEC,
};
