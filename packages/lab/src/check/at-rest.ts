/** Invariants of a state in which no action is enabled. */

import { HELD_SLOTS, IDLE_MS as IDLE_WORD, startOf, violated } from "pinless/portable";
import { type CaseContext, namesOfThreads } from "./context.js";
import type { CheckKernel } from "./kernel.js";
import * as S from "./state.js";
import type { UserProgram } from "./user-program.js";
import type { WorldParts } from "./world-state.js";
import { INVALIDATION_STATES } from "./world-state.js";

export interface RestingWorld extends WorldParts {
  readonly kernel: CheckKernel;
  readonly program: UserProgram;
  runMicrotasks(): void;
  runSoon(): void;
}

/** Checks a state without enabled actions: all requests and invalidations must have ended, and nothing be left over. */
export function checkAtRest(world: RestingWorld): void {
  const { ground, dispatcher } = world;
  ground.scenario.foreign.forEach((_, f) => {
    const never = ground.hasLostMonitor && ground.foreign(f, S.F_STATE) === S.IDLE;
    if (ground.foreign(f, S.F_STATE) !== S.LEFT && !never)
      violated("BOUNDED_WAIT", `nothing can happen any more, and T${f + 1} is still waited for`);
  });
  ground.scenario.requests.forEach((_, i) => {
    if (ground.request(i, S.R_STATUS) === S.NOT_YET)
      violated("BOUNDED_WAIT", `nothing can happen any more, and there's no room for ${String.fromCharCode(97 + i)}`);
    if (ground.request(i, S.R_STATUS) !== S.ANSWERED)
      violated("EXACTLY_ONCE", `nothing can happen any more, and ${String.fromCharCode(97 + i)} isn't answered`);
  });
  for (let j = 0; j < world.handles.length; j++) {
    const state = ground.invalidation(j, S.I_STATE);
    if (state >= S.WAITING && state <= S.BEGUN)
      violated("BOUNDED_WAIT", `nothing can happen any more, and an invalidation is ${INVALIDATION_STATES[state]}`);
  }
  ground.scenario.invalidations.forEach(({ blockable }, j) => {
    if (blockable && ground.invalidation(j, S.I_STATE) !== S.ENDED)
      violated("BOUNDED_WAIT", `nothing can happen any more, and ${j} never ended`);
  });
  for (let start = 0; start < ground.scenario.foreign.length; start++)
    if (startOf(world.calls, start + 1) !== undefined)
      violated("BOUNDED_WAIT", `nothing can happen any more, and ${nameOfStart(ground, start)} still drains`);
  if (!world.monitor.isAtRest)
    violated("BOUNDED_WAIT", "nothing can happen any more, and the monitor still waits for a thread to leave its call");
  if (dispatcher.active !== 0) violated("EXACTLY_ONCE", "a request is left over");
  giveBack(world);
  if (ground.w[S.ALIVE] !== 0) violated("EXACTLY_ONCE", "an engine with nothing to do keeps the process alive");
}

function nameOfStart({ w, at }: CaseContext, start: number): string {
  return `the start for ${namesOfThreads(w[at.starts + start]!)}`;
}

/** Advances the clock, so that all leases are dropped: then no pin may be left. */
function giveBack(world: RestingWorld): void {
  const { leases, ground } = world;
  if (leases === null) return;
  for (let i = 0; i < 3; i++) {
    ground.w[S.TIME_MS]! += leases.table.header(IDLE_WORD);
    world.program.tick();
    world.runMicrotasks();
    for (let slot = 0; slot < ground.slots; slot++) if (ground.slot(slot, S.S_TAG) === 1) world.kernel.postTag(slot);
    if (ground.w[S.WAKE] === 1) world.program.wake();
    while (ground.w[ground.at.soon]! > 0) world.runSoon();
  }
  if (leases.table.header(HELD_SLOTS) !== 0 || ground.machine.disk.pins !== 0)
    violated(
      "NO_IDLE_PIN",
      `${leases.table.header(HELD_SLOTS)} leases and ${ground.machine.disk.pins} pins are left over`,
    );
}
