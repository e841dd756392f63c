// The same bodies on the simulated kernel by what leases are compared with, and each operation beside and after every
// other.
import { conformance } from "../../../pinless/dist-test/conformance/conformance.js";
import { fileArenas } from "../../../pinless/dist-test/conformance/file-arenas.js";
import { forks } from "../../../pinless/dist-test/conformance/memory-management.js";
import { pairs } from "../../../pinless/dist-test/conformance/pairs.js";
import { sequences } from "../../../pinless/dist-test/conformance/sequences.js";
import { modelGround } from "./ground.js";

conformance(modelGround("io_uring", "lifetime"));
// The proposal: what is registered for life does no harm there.
conformance(modelGround("io_uring", "lifetime", "notifier"));
// What isn't registered is the same by aio and io_uring here.
conformance(modelGround("aio", "per-io"));
conformance(modelGround("direct", "per-io"));
// Only what it did otherwise.
forks(modelGround("io_uring", "lifetime", "gup", true));

for (const pin of ["lifetime", "per-io"] as const) fileArenas(modelGround("io_uring", pin));
fileArenas(modelGround("io_uring", "lifetime", "notifier"));
for (const scheme of ["aio", "direct"] as const) fileArenas(modelGround(scheme, "per-io"));

// What is the engine's alone has been tried on the real kernel.
const ENGINES_OWN = [
  "buffered read",
  "read elsewhere",
  "close the file",
  "open another",
  "another arena",
  "releasePins",
];
pairs(() => modelGround("io_uring", "lease", "gup", false, 1 / 8), 8, [
  ...ENGINES_OWN,
  "discard lazily",
  "pageOut of all",
  "writeback of all",
]);

sequences(modelGround("io_uring", "lease"));
