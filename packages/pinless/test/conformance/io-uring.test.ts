// The conformance suites on the real kernel, by io_uring with leases.
import { conformanceByRing } from "./by-ring.js";

conformanceByRing("lease");
