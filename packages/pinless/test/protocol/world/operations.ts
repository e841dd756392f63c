// Operations of a run: a list of small steps, whose numbers pick among the objects that exist at that moment, so that
// every list is valid and can be shrunk.
import fc from "fast-check";
import { MMU_EVENTS, type MmuEvent } from "../../../dist/protocol/events.js";
import type { Call } from "./kernel.js";

/** A range: within one arena, or from one into the next. */
export interface Where {
  readonly arena: number;
  readonly page: number;
  readonly pages: number;
}

/** Change of protection of pages, counted from the invalidation's first page. */
export interface Change {
  readonly page: number;
  readonly pages: number;
  readonly readOnly: boolean;
}

export type Nested =
  | { readonly do: "submit"; readonly where: Where; readonly write: boolean; readonly endless: boolean }
  | { readonly do: "start"; readonly where: Where; readonly event: MmuEvent; readonly blockable: boolean }
  | { readonly do: "end"; readonly pick: number; readonly protections: readonly Change[] | null }
  | { readonly do: "cancel"; readonly pick: number }
  | { readonly do: "whenQuiet"; readonly where: Where }
  | { readonly do: "throw" };

export type Operation =
  | Exclude<Nested, { do: "submit" | "start" | "throw" }>
  /** `after`: what its `done` does. */
  | (Extract<Nested, { do: "submit" }> & { readonly after: readonly Nested[] })
  /** `after`: what its `ready` does. */
  | (Extract<Nested, { do: "start" }> & { readonly after: readonly Nested[] })
  | { readonly do: "complete"; readonly pick: number; readonly outcome: "whole" | "short" | "EIO" | "EFAULT" }
  | { readonly do: "tag"; readonly pick: number }
  | { readonly do: "microtasks" }
  | { readonly do: "soon" }
  /** `looked`: the engine's clock isn't late. */
  | { readonly do: "tick"; readonly ms: number; readonly looked: boolean }
  /** The next step of a discard by other code (it's read, its pages go, its thread leaves the call), or a new one. */
  | { readonly do: "foreign"; readonly pick: number; readonly anew: boolean; readonly where: Where }
  /**
   * The monitor's next steps, now or in the middle of one of the engine's calls; `tag`: a tag that is due comes at
   * once.
   */
  | {
      readonly do: "monitor";
      readonly pick: number;
      readonly steps: number;
      readonly tag: boolean;
      readonly during: Call | null;
    }
  | { readonly do: "refuse"; readonly takes: number; readonly populates: number }
  | { readonly do: "addArena"; readonly arena: number; readonly chunks: number; readonly pages: number }
  | { readonly do: "closeArena"; readonly arena: number }
  | { readonly do: "dropAll" }
  | { readonly do: "giveUp"; readonly yes: boolean };

export interface Setup {
  readonly depth: number;
  /** 0: per-io. */
  readonly slots: number;
  readonly budgetPages: number;
  readonly idleMs: number;
  readonly maxMs: number;
  readonly nowMs: number;
}

export const setups: fc.Arbitrary<Setup> = fc.record({
  depth: fc.integer({ min: 1, max: 10 }),
  slots: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 4 }) }, { weight: 1, arbitrary: fc.constant(0) }),
  budgetPages: fc.constantFrom(64, 64, 48, 48, 32, 31, 16, 8),
  idleMs: fc.integer({ min: 1, max: 40 }),
  maxMs: fc.integer({ min: 5, max: 100 }),
  // The clock is an int32 and goes round.
  nowMs: fc.constantFrom(1, 1000, 0x7fffffff - 30, -30),
});

const OUTCOMES = ["whole", "whole", "whole", "short", "EIO", "EFAULT"] as const;
const pick = fc.nat(63);
// Mostly within a chunk, and often in the same: those go by leases.
const where: fc.Arbitrary<Where> = fc.record({
  arena: fc.constantFrom(0, 0, 0, 0, 1, 1, 2),
  page: fc.oneof({ weight: 3, arbitrary: fc.constantFrom(0, 0, 16) }, { weight: 2, arbitrary: fc.nat(47) }),
  pages: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }) }),
});
// Some are for good.
const PASSING: readonly MmuEvent[] = ["CLEAR", "MIGRATE", "PROTECTION_PAGE", "SOFT_DIRTY", "EXCLUSIVE"];
const event = fc.oneof(
  { weight: 7, arbitrary: fc.constantFrom(...PASSING) },
  { weight: 1, arbitrary: fc.constant("PROTECTION_VMA" as const) },
  { weight: 1, arbitrary: fc.constantFrom(...MMU_EVENTS) },
);

const submit = fc.record({
  do: fc.constant("submit" as const),
  where,
  write: fc.boolean(),
  endless: fc.nat(39).map((n) => n === 0),
});
const start = fc.record({
  do: fc.constant("start" as const),
  where,
  event,
  blockable: fc.nat(2).map((n) => n > 0),
});
const change: fc.Arbitrary<Change> = fc.record({
  page: fc.oneof(fc.constantFrom(0, 16), fc.nat(47)),
  pages: fc.oneof(fc.constantFrom(16, 32), fc.integer({ min: 1, max: 40 })),
  readOnly: fc.boolean(),
});
// Null: the end has no list of changed protections.
const protections = fc.option(fc.array(change, { maxLength: 3 }), { freq: 8 });
const end = fc.record({ do: fc.constant("end" as const), pick, protections });
const cancel = fc.record({ do: fc.constant("cancel" as const), pick });
const whenQuiet = fc.record({ do: fc.constant("whenQuiet" as const), where });
const nested: fc.Arbitrary<readonly Nested[]> = fc.oneof(
  { weight: 5, arbitrary: fc.constant([]) },
  {
    weight: 2,
    arbitrary: fc.array(
      fc.oneof(
        { weight: 3, arbitrary: submit },
        { weight: 1, arbitrary: start },
        { weight: 3, arbitrary: end },
        { weight: 1, arbitrary: cancel },
        { weight: 1, arbitrary: whenQuiet },
        { weight: 1, arbitrary: fc.record({ do: fc.constant("throw" as const) }) },
      ),
      { minLength: 1, maxLength: 3 },
    ),
  },
);
const calls = fc.constantFrom<Call>("prepare", "enter", "reap", "deliver", "deliver", "take", "populate", "drop");

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 44, arbitrary: fc.tuple(submit, nested).map(([s, after]) => ({ ...s, after })) },
  { weight: 5, arbitrary: fc.tuple(start, nested).map(([s, after]) => ({ ...s, after })) },
  { weight: 18, arbitrary: end },
  { weight: 24, arbitrary: fc.record({ do: fc.constant("microtasks" as const) }) },
  { weight: 16, arbitrary: fc.record({ do: fc.constant("soon" as const) }) },
  {
    weight: 36,
    arbitrary: fc.record({
      do: fc.constant("complete" as const),
      pick,
      outcome: fc.constantFrom(...OUTCOMES),
    }),
  },
  { weight: 12, arbitrary: fc.record({ do: fc.constant("tag" as const), pick }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("tick" as const), ms: fc.nat(6), looked: fc.boolean() }) },
  {
    weight: 10,
    arbitrary: fc.record({ do: fc.constant("foreign" as const), pick, anew: fc.nat(3).map((n) => n === 0), where }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("monitor" as const),
      pick,
      steps: fc.integer({ min: 1, max: 3 }),
      tag: fc.boolean(),
      during: fc.option(calls),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("refuse" as const), takes: fc.nat(1), populates: fc.nat(1) }) },
  { weight: 2, arbitrary: cancel },
  { weight: 1, arbitrary: whenQuiet },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("addArena" as const),
      arena: fc.nat(2),
      chunks: fc.integer({ min: 1, max: 3 }),
      pages: fc.nat(15),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("closeArena" as const), arena: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("dropAll" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("giveUp" as const), yes: fc.nat(3).map((n) => n === 0) }) },
);

export const operations = fc.array(operation, { minLength: 1, maxLength: 200, size: "max" });
