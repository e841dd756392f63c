/** Tests userfaultfd by opening one and registering memory as the monitor would. Nothing is left behind. */

import {
  addressOf,
  close,
  EINVAL,
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

const EVENTS = UFFD.UFFD_FEATURE_EVENT_REMOVE | UFFD.UFFD_FEATURE_EVENT_UNMAP | UFFD.UFFD_FEATURE_EVENT_REMAP;

export interface UserfaultfdTrial {
  /** Result of the system call, 0 or -errno. */
  readonly errno: number;
  /** UFFD_FEATURE_… bits that the kernel supports. */
  readonly features: number;
  /** Result of registering memory for write protection with the events REMOVE, UNMAP and REMAP: 0, or -errno. */
  readonly registers: number;
}

export function tryUserfaultfd(): UserfaultfdTrial {
  const asking = open();
  if (asking < 0) return { errno: asking, features: 0, registers: asking };
  // The handshake can't be repeated, so one descriptor is used to query, another to register.
  const answered = handshake(asking, 0);
  close(asking);
  const features = Math.max(0, answered);
  return { errno: 0, features, registers: answered < 0 ? answered : register(open(), features) };
}

/** Opens one for faults in user mode only, as ordinary users may; before Linux 5.11 there was no such kind. */
function open(): number {
  const opened = userfaultfd(FCNTL.O_CLOEXEC | FCNTL.O_NONBLOCK | UFFD.UFFD_USER_MODE_ONLY);
  return opened === -EINVAL ? userfaultfd(FCNTL.O_CLOEXEC | FCNTL.O_NONBLOCK) : opened;
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
