// The conformance suites on the real kernel, by io_uring, in every pin mode.
import { conformance } from "./conformance.js";
import { kernelGround } from "./kernel.js";

for (const pin of ["lease", "lifetime", "per-io"] as const) conformance(kernelGround("io_uring", pin));
