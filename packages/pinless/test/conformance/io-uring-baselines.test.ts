// The conformance suites on the real kernel, by io_uring in the two pin modes that leases are compared with.
import { conformanceByRing } from "./by-ring.js";

conformanceByRing("lifetime");
conformanceByRing("per-io");
