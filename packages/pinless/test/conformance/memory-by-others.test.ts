// The conformance suites of memory on the real kernel, by the schemes and pin modes that take no leases.
import { test } from "node:test";
import { ioUringOff } from "../support/io-uring.js";
import { memorySuites } from "./conformance.js";
import { fileArenas } from "./file-arenas.js";
import { kernelGround } from "./kernel.js";

for (const scheme of ["aio", "direct"] as const) {
  memorySuites(kernelGround(scheme, "per-io"));
  fileArenas(kernelGround(scheme, "per-io"));
}
const skip = ioUringOff();
for (const pin of ["lifetime", "per-io"] as const) {
  if (skip === false) fileArenas(kernelGround("io_uring", pin));
  else test(`io_uring, ${pin}: arenas of files`, { skip });
}
