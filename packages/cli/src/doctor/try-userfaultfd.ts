/** Tests userfaultfd by opening one and registering memory as the monitor would. Nothing is left behind. */

import { openSync } from "node:fs";
import {
  addressOf,
  close,
  EINVAL,
  EPERM,
  FCNTL,
  fixedMemory,
  ioctl,
  LARGEST_PAGE_BYTES,
  UFFD,
  UFFDIO_API,
  UFFDIO_RANGE,
  UFFDIO_REGISTER,
  userfaultfd,
} from "pinless/internal";

const DEVICE = "/dev/userfaultfd";
const EVENTS = UFFD.UFFD_FEATURE_EVENT_REMOVE | UFFD.UFFD_FEATURE_EVENT_UNMAP | UFFD.UFFD_FEATURE_EVENT_REMAP;

export interface UserfaultfdTrial {
  /** Way by which one was opened; null if neither works. */
  readonly by: "syscall" | "device" | null;
  /** Result of the system call, 0 or -errno. */
  readonly errno: number;
  /** UFFD_FEATURE_… bits that the kernel supports. */
  readonly features: number;
  /** Result of registering memory for write protection with the events REMOVE, UNMAP and REMAP: 0, or -errno. */
  readonly registers: number;
}

export function tryUserfaultfd(): UserfaultfdTrial {
  const called = openByCall();
  const byDevice = called < 0 ? openByDevice() : -1;
  const by = called >= 0 ? "syscall" : byDevice >= 0 ? "device" : null;
  const errno = Math.min(0, called);
  if (by === null) return { by, errno, features: 0, registers: errno };
  // The handshake can't be repeated, so one descriptor is used to query, another to register.
  const asking = by === "syscall" ? called : byDevice;
  const answered = handshake(asking, 0);
  close(asking);
  const features = Math.max(0, answered);
  const registers = answered < 0 ? answered : register(by === "syscall" ? openByCall() : openByDevice(), features);
  return { by, errno, features, registers };
}

/** Opens one for faults in user mode only, as ordinary users may; before Linux 5.11 there was no such kind. */
function openByCall(): number {
  const opened = userfaultfd(FCNTL.O_CLOEXEC | FCNTL.O_NONBLOCK | UFFD.UFFD_USER_MODE_ONLY);
  return opened === -EINVAL ? userfaultfd(FCNTL.O_CLOEXEC | FCNTL.O_NONBLOCK) : opened;
}

/** Opens one through the device, whose permissions count instead of the sysctl (Linux 6.1). */
function openByDevice(): number {
  let device: number;
  try {
    device = openSync(DEVICE, FCNTL.O_CLOEXEC);
  } catch {
    return -EPERM;
  }
  const opened = ioctl(device, UFFD.USERFAULTFD_IOC_NEW, FCNTL.O_CLOEXEC | FCNTL.O_NONBLOCK);
  close(device);
  return opened;
}

/** Features that the kernel supports, or -errno. */
function handshake(fd: number, wanted: number): number {
  const words = new Uint32Array(new ArrayBuffer(128));
  words[UFFDIO_API.fields.api / 4] = UFFD.UFFD_API;
  words[UFFDIO_API.fields.features / 4] = wanted;
  const asked = ioctl(fd, UFFD.UFFDIO_API, addressOf(words.buffer));
  return asked < 0 ? asked : words[UFFDIO_API.fields.features / 4]!;
}

/** Registers memory, and closes `fd`, which ends the registration. */
function register(fd: number, features: number): number {
  if (fd < 0) return fd;
  const wanted = EVENTS | UFFD.UFFD_FEATURE_PAGEFAULT_FLAG_WP;
  const memory = fixedMemory(LARGEST_PAGE_BYTES);
  const words = new BigUint64Array(new ArrayBuffer(128));
  const { range } = UFFDIO_REGISTER.fields;
  words[(range + UFFDIO_RANGE.fields.start) / 8] = BigInt(addressOf(memory));
  words[(range + UFFDIO_RANGE.fields.len) / 8] = BigInt(LARGEST_PAGE_BYTES);
  words[UFFDIO_REGISTER.fields.mode / 8] = BigInt(UFFD.UFFDIO_REGISTER_MODE_WP);
  const agreed = handshake(fd, wanted & features);
  const result = agreed < 0 ? agreed : ioctl(fd, UFFD.UFFDIO_REGISTER, addressOf(words.buffer));
  close(fd);
  return Math.min(0, result);
}
