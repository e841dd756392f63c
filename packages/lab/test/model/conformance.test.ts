// The same bodies on a simulated kernel, in virtual time: what passes on the one and not on the other is a mistake in one of them.
import type { PinMode, SchemeName } from "../../../pinless/dist/index.js";
import { conformance } from "../../../pinless/dist-test/conformance/conformance.js";
import { fileArenas } from "../../../pinless/dist-test/conformance/file-arenas.js";
import type { Ground } from "../../../pinless/dist-test/conformance/ground.js";
import { forks } from "../../../pinless/dist-test/conformance/memory-management.js";
import { pairs } from "../../../pinless/dist-test/conformance/pairs.js";
import { sequences } from "../../../pinless/dist-test/conformance/sequences.js";
import type { Design } from "../../dist/model/tables.js";
import { World } from "../../dist/simulate/simulated-world.js";
import { modelAround } from "./around.js";

const PAGES_PER_MIB = 256;

/** `share`: of the usual size. */
function modelGround(
  scheme: SchemeName,
  pin: PinMode,
  design: Design = "gup",
  sharesPinned = false,
  share = 1,
): Ground {
  const world = new World({
    seed: 20201104,
    design,
    size: {
      frames: 512 * PAGES_PER_MIB * share,
      nodes: 2,
      pages: 4096 * PAGES_PER_MIB * share,
      processes: 2,
      sharesPinned,
      swapSlots: 64 * PAGES_PER_MIB,
      blocks: 8192 * PAGES_PER_MIB * share,
      bufferSlots: 520,
      bufferPages: 64 * PAGES_PER_MIB,
      requests: 1024,
      requestPages: 16 * PAGES_PER_MIB,
      memlock: { users: 1, pages: 8 * PAGES_PER_MIB },
    },
    timing: { deviceMs: [0.01, 0.2], releaseMs: 9, tagMs: 0, tags: "own", wakeMs: 0.005 },
    later: (step) => void setImmediate(step),
    uncaught: (error) =>
      void setImmediate(() => {
        throw error;
      }),
  });
  let files = 0;
  return {
    name: `model of ${scheme}, ${pin}${design === "gup" ? "" : ", kernel obeys notifiers"}${sharesPinned ? ", before Linux 5.12" : ""}`,
    pin,
    harmed: pin === "lifetime" && design === "gup",
    open: async (options) => world.openEngine({ ...options, scheme, pin }),
    addressOf: (view) => world.machine.addressOfView(view),
    file: async (content) => {
      const path = `file-${files++}`;
      const file = world.files.create(path, content.length);
      file.write(0, content);
      file.settle();
      return path;
    },
    contentOf: async (path) => world.files.get(path)!.content(),
    around: modelAround(world, (options) => world.openEngine({ ...options, scheme, pin }, 0)),
  };
}

conformance(modelGround("io_uring", "lease"));
conformance(modelGround("io_uring", "lifetime"));
// The proposal: what is registered for life does no harm there.
conformance(modelGround("io_uring", "lifetime", "notifier"));
// What isn't registered is the same by aio and io_uring here.
conformance(modelGround("aio", "per-io"));
conformance(modelGround("direct", "per-io"));
// Only what it did otherwise.
forks(modelGround("io_uring", "lifetime", "gup", true));

for (const pin of ["lease", "lifetime", "per-io"] as const) fileArenas(modelGround("io_uring", pin));
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
