// Memory that is a mapping of a file, by io_uring with leases.
import { test } from "node:test";
import { ioUringOff } from "../support/io-uring.js";
import { fileArenas } from "./file-arenas.js";
import { kernelGround } from "./kernel.js";

const skip = ioUringOff();
if (skip === false) fileArenas(kernelGround("io_uring", "lease"));
else test("io_uring, lease: arenas of files", { skip });
