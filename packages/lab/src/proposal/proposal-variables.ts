/** Variables of the proposal's kernel, or of Linux without an engine, in a trace. */

import { inWords, nameOfRequest } from "../check/context.js";
import { setOf, type Value, type Variables } from "../check/itf-values.js";
import { filesOf, framesOf, pageOf } from "../check/machine-variables.js";
import * as G from "./proposal-context.js";
import type { ProposalWorld } from "./proposal-world.js";

// Names of states, by their numbers: Q_STATE and V_STEP (proposal-context.ts), and the notifier's (mmu-notifier.ts).
const REQUEST_NAMES = [
  "not submitted",
  "begins",
  "looks for pages",
  "breaks a copy-on-write",
  "has its pages",
  "counted in",
  "in flight",
  "served",
  "answered",
] as const;
const STEP_NAMES = ["not started", "started", "operated", "over"] as const;
const NOTIFIER_NAMES = ["none", "raised", "draining", "begun", "ended", "refused"] as const;
const EVENTS_LEFT = {
  reclaim: G.RECLAIMS,
  compaction: G.MIGRATIONS,
  fork: G.FORKS,
  EIO: G.EIOS,
  "short transfer": G.SHORTS,
  signal: G.SIGNALS,
  ENOMEM: G.NO_MEMORY,
} as const;

export function variablesOf({ ground, rules }: ProposalWorld): Variables {
  const { scenario, machine, w, notifier } = ground;
  const invalidations: Record<string, Value> = {};
  for (let j = 0; j < ground.invalidations; j++) {
    const step = ground.invalidation(j, G.V_STEP);
    // An invalidation of the kernel's own has no name before it begins: which it is, and of what, isn't known yet.
    if (step === G.NOT_STARTED && scenario.invalidations[j] === undefined) continue;
    invalidations[rules.nameOf(j)] = {
      pages: inWords(notifier.rangeOf(j)),
      step: STEP_NAMES[step]!,
      notifier: NOTIFIER_NAMES[notifier.state(j)]!,
    };
  }
  return {
    requests: Object.fromEntries(scenario.requests.map((_, i) => [nameOfRequest(i), requestOf(ground, i)])),
    invalidations,
    pages: Array.from({ length: ground.pages }, (_, page) => ({
      ...pageOf(machine, page, ground.page(page, G.P_CONTENT)),
      in_child: childOf(ground, page),
      in_buffer: ground.registered && !ground.notifies ? `frame ${ground.pinnedFrame(page)}` : "none",
      flags: setOf({
        "read-only": ground.has(page, G.READ_ONLY),
        unmapped: ground.has(page, G.UNMAPPED),
        tracked: ground.has(page, G.TRACKED),
        "valid for device reads": ground.has(page, G.VALID_FOR_READS),
        "valid for device writes": ground.has(page, G.VALID_FOR_WRITES),
      }),
    })),
    frames: framesOf(machine),
    files: filesOf(machine, scenario.requests, (i) => ground.blockOf(i)),
    may_happen: Object.fromEntries(Object.entries(EVENTS_LEFT).map(([name, word]) => [name, w[word]!])),
  };
}

function requestOf(ground: G.ProposalGround, i: number): Value {
  const { write, first, last } = ground.scenario.requests[i]!;
  const frames = Array.from({ length: last - first + 1 }, (_, page) => ground.frameFor(i, page));
  return {
    asks: `${write ? "write" : "read"} ${inWords({ first, last })}`,
    state: REQUEST_NAMES[ground.request(i, G.Q_STATE)]!,
    next_page: first + ground.request(i, G.Q_PAGE),
    pages_served: ground.request(i, G.Q_SERVED),
    errno: ground.request(i, G.Q_ERRNO),
    was_sent_back: ground.request(i, G.Q_WAITED) === 1,
    frames: frames.map((frame) => (frame < 0 ? "none" : `frame ${frame}`)),
  };
}

function childOf(ground: G.ProposalGround, page: number): Value {
  const frame = ground.page(page, G.P_CHILD);
  if (frame === 0) return "none";
  return `frame ${frame - 1}, should hold ${ground.page(page, G.P_CHILD_CONTENT)}`;
}
