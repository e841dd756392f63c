// Every scheme and pin mode on memory that is a mapping of a file.
import { test } from "node:test";
import { ioUringOff } from "../support/io-uring.js";
import { fileArenas } from "./file-arenas.js";
import { kernelGround } from "./kernel.js";

const skip = ioUringOff();
for (const pin of ["lease", "lifetime", "per-io"] as const) {
  if (skip === false) fileArenas(kernelGround("io_uring", pin));
  else test(`io_uring, ${pin}: arenas of files`, { skip });
}
for (const scheme of ["aio", "direct"] as const) fileArenas(kernelGround(scheme, "per-io"));
