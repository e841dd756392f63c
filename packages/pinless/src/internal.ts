/** Internals of `pinless` that `@pinless/cli` uses, in one list. They may change in any version. */

export { UFFDIO_API, UFFDIO_RANGE, UFFDIO_REGISTER } from "./abi/layouts.js";
export { FCNTL, IO_URING, MMAN, openDirectFlag, PRCTL, temporaryFileFlag, UFFD } from "./abi/numbers.js";
export { type Question, type ReleaseAnswer, type StatsAnswer, splitLines } from "./control/control-protocol.js";
export { peerOfSocket } from "./control/peer.js";
export {
  boundSockets,
  fitsSocketName,
  runtimeDirectory,
  type SocketPath,
  whyUntrusted,
} from "./control/socket-paths.js";
export { AioContext } from "./linux/aio-context.js";
export { cgroupsOf } from "./linux/cgroups.js";
export { type Alignment, reportedAlignment } from "./linux/direct-alignment.js";
export { fixedMemory } from "./linux/fixed-memory.js";
export { close, forgetCached, ioctl, madvise, prctl, setAffinity, userfaultfd } from "./linux/libc.js";
export { addressOf, bound, loadLibc, orErrno } from "./linux/libc-bindings.js";
export { memoryBytes } from "./linux/memory-limit.js";
export { type Mount, mountsOf } from "./linux/mounts.js";
export { memoryNodes } from "./linux/page-migration-support.js";
export {
  AIO_CALLS,
  availableBytes,
  countNumaNodes,
  explainNoAio,
  explainNoRing,
  meminfoBytes,
  memlockBytes,
  RING_CALLS,
  readText,
} from "./linux/probe.js";
export { Ring } from "./linux/ring.js";
export { type EngineSettings, settingsOf } from "./ports/options.js";
export type { EngineStats } from "./ports/stats.js";
export { EINVAL, EPERM } from "./protocol/errno.js";
export { MMU_EVENTS, type MmuEvent } from "./protocol/events.js";
export { HUGE_PAGE_BYTES, LARGEST_PAGE_BYTES, PAGE_BYTES } from "./protocol/ranges/pages.js";
export { alignUp } from "./protocol/ranges/ranges.js";
export { RegisteredBuffers } from "./schemes/io-uring/registered-buffers.js";
export { revocationHere } from "./schemes/start.js";
