/** What userfaultfd gives here, by opening one and registering memory as a watcher would. Nothing stays. */

import { openSync } from "node:fs";
import {
  addressOf,
  close,
  ERRNO,
  FCNTL,
  fixedMemory,
  ioctl,
  UFFD,
  UFFDIO_API,
  UFFDIO_RANGE,
  UFFDIO_REGISTER,
  userfaultfd,
} from "pinless/internal";

const DEVICE = "/dev/userfaultfd";
const PAGE_BYTES = 65536;
const EVENTS = UFFD.UFFD_FEATURE_EVENT_REMOVE | UFFD.UFFD_FEATURE_EVENT_UNMAP | UFFD.UFFD_FEATURE_EVENT_REMAP;

export interface UserfaultfdTrial {
  /** By which door one was opened; null: by neither. */
  readonly by: "syscall" | "device" | null;
  /** The system call's own answer, 0 or -errno. */
  readonly errno: number;
  /** UFFD_FEATURE_… that the kernel has. */
  readonly features: number;
  /** 0, or -errno: watching memory for write-protection, with the events REMOVE, UNMAP and REMAP. */
  readonly registers: number;
}

export function tryUserfaultfd(): UserfaultfdTrial {
  const called = openByCall();
  const byDevice = called < 0 ? openByDevice() : -1;
  const by = called >= 0 ? "syscall" : byDevice >= 0 ? "device" : null;
  const errno = Math.min(0, called);
  if (by === null) return { by, errno, features: 0, registers: errno };
  // A handshake can't be repeated: one descriptor to ask by, another to register by.
  const asking = by === "syscall" ? called : byDevice;
  const answered = handshake(asking, 0);
  close(asking);
  const features = Math.max(0, answered);
  const registers = answered < 0 ? answered : register(by === "syscall" ? openByCall() : openByDevice(), features);
  return { by, errno, features, registers };
}

/** An ordinary user may only have one that handles no faults of the kernel's own; before Linux 5.11 there was no such kind. */
function openByCall(): number {
  const opened = userfaultfd(FCNTL.O_CLOEXEC | FCNTL.O_NONBLOCK | UFFD.UFFD_USER_MODE_ONLY);
  return opened === -ERRNO.EINVAL ? userfaultfd(FCNTL.O_CLOEXEC | FCNTL.O_NONBLOCK) : opened;
}

/** Whoever may open the device may have one, whatever the sysctl says (Linux 6.1). */
function openByDevice(): number {
  let device: number;
  try {
    device = openSync(DEVICE, FCNTL.O_CLOEXEC);
  } catch {
    return -ERRNO.EPERM;
  }
  const opened = ioctl(device, UFFD.USERFAULTFD_IOC_NEW, FCNTL.O_CLOEXEC | FCNTL.O_NONBLOCK);
  close(device);
  return opened;
}

/** The features that the kernel has, or -errno. */
function handshake(fd: number, wanted: number): number {
  const words = new Uint32Array(new ArrayBuffer(128));
  words[UFFDIO_API.fields.api / 4] = UFFD.UFFD_API;
  words[UFFDIO_API.fields.features / 4] = wanted;
  const asked = ioctl(fd, UFFD.UFFDIO_API, addressOf(words.buffer));
  return asked < 0 ? asked : words[UFFDIO_API.fields.features / 4]!;
}

/** Ends with `fd` closed: the memory is watched by nobody again. */
function register(fd: number, features: number): number {
  if (fd < 0) return fd;
  const wanted = EVENTS | UFFD.UFFD_FEATURE_PAGEFAULT_FLAG_WP;
  const memory = fixedMemory(PAGE_BYTES);
  const words = new BigUint64Array(new ArrayBuffer(128));
  const { range } = UFFDIO_REGISTER.fields;
  words[(range + UFFDIO_RANGE.fields.start) / 8] = BigInt(addressOf(memory));
  words[(range + UFFDIO_RANGE.fields.len) / 8] = BigInt(PAGE_BYTES);
  words[UFFDIO_REGISTER.fields.mode / 8] = BigInt(UFFD.UFFDIO_REGISTER_MODE_WP);
  const agreed = handshake(fd, wanted & features);
  const result = agreed < 0 ? agreed : ioctl(fd, UFFD.UFFDIO_REGISTER, addressOf(words.buffer));
  close(fd);
  return Math.min(0, result);
}
