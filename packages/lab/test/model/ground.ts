/** A simulated kernel, in virtual time, as ground for the bodies that also run on the real one. */

import type { PinMode, SchemeName } from "../../../pinless/dist/index.js";
import type { Ground } from "../../../pinless/dist-test/conformance/ground.js";
import type { KernelDesign } from "../../dist/model/tables.js";
import { SimulatedWorld } from "../../dist/simulate/simulated-world.js";
import { modelAround } from "./around.js";

const PAGES_PER_MIB = 256;

/** `share`: of the usual size. */
export function modelGround(
  scheme: SchemeName,
  pin: PinMode,
  design: KernelDesign = "gup",
  sharesPinned = false,
  share = 1,
): Ground {
  const world = new SimulatedWorld({
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
    name:
      `model of ${scheme}, ` +
      `${pin}${design === "gup" ? "" : ", kernel obeys notifiers"}${sharesPinned ? ", before Linux 5.12" : ""}`,
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
