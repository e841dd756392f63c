/** A process with an arena of 4 MiB that it has read into, registered for life or leased and given back. */

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { TestContext } from "node:test";
import { runModule } from "../../../pinless/dist-test/support/children.js";
import { undoing } from "../../../pinless/dist-test/support/undo.js";

const SOURCE = `
  import { Engine } from PINLESS;
  const [, pin] = process.argv;
  const engine = await Engine.open({ pin });
  const arena = await engine.arena({ bytes: 4 << 20 });
  const file = await engine.openFile(process.execPath);
  for (let i = 0; i < 2; i++) await file.read(arena.alloc(4096), { position: 0 });
  if (pin === "lease") await engine.releasePins();
  console.log("ready");
  setInterval(() => {}, 1000);
`;

/** Its pid, once it has pinned what it will. It ends with the test. */
export async function pinningChild(
  t: TestContext,
  pin: "lease" | "lifetime",
  wrapper: readonly string[] = [],
): Promise<number> {
  const child = await new Promise<ChildProcess>((resolve) => {
    const ended = runModule(SOURCE, { args: [pin], wrapper, started: resolve });
    undoing(t, async () => {
      process.kill(pid);
      await ended;
    });
  });
  const pid = child.pid!;
  await once(child.stdout!, "data");
  return pid;
}
