// Two calls at a time, on the real kernel.
import { ioUringOff } from "../support/io-uring.js";
import { kernelGround } from "./kernel.js";
import { pairs } from "./pairs.js";

if (ioUringOff() === false) pairs(() => kernelGround("io_uring", "lease"));
pairs(() => kernelGround("aio", "per-io"));
