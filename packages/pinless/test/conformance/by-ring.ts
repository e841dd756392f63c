/** The conformance suites on the real kernel, by io_uring. */

import { test } from "node:test";
import type { PinMode } from "../../dist/index.js";
import { ioUringOff } from "../support/io-uring.js";
import { conformance } from "./conformance.js";
import { kernelGround } from "./kernel.js";

export function conformanceByRing(pin: PinMode): void {
  const skip = ioUringOff();
  if (skip === false) conformance(kernelGround("io_uring", pin));
  else test(`io_uring, ${pin}: every conformance suite`, { skip });
}
