// The conformance suites on the real kernel, by io_uring, in every pin mode.
import { test } from "node:test";
import { ioUringOff } from "../support/io-uring.js";
import { conformance } from "./conformance.js";
import { kernelGround } from "./kernel.js";

const skip = ioUringOff();
for (const pin of ["lease", "lifetime", "per-io"] as const) {
  if (skip === false) conformance(kernelGround("io_uring", pin));
  else test(`io_uring, ${pin}: every conformance suite`, { skip });
}
