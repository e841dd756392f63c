// The conformance suites on the real kernel, by an io_uring whose queue a thread of the kernel reads.
import { conformanceByRing } from "./by-ring.js";

conformanceByRing("lease", { poll: { submit: true } }, ", polled");
