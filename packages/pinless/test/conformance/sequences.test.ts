// Memory operations one after the other, on the real kernel; with swap where a test may have some.
import { needsRoot, swap } from "../support/disks.js";
import { ioUringOff } from "../support/io-uring.js";
import { kernelGround } from "./kernel.js";
import { sequences } from "./sequences.js";

const MIB = 1 << 20;
const ground = kernelGround(ioUringOff() === false ? "io_uring" : "aio", ioUringOff() === false ? "lease" : "per-io");
sequences(ground, (t) => {
  if (needsRoot === false) swap(t, 64 * MIB);
});
