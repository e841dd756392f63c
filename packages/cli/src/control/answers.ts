/** Validates answers of another process, which may run another version of pinless, or other software. */

import { type EngineStats, MMU_EVENTS, type MmuEvent, type ReleaseAnswer, type StatsAnswer } from "pinless/internal";

/** Limits that no real thread exceeds. */
const MAX_ENGINES = 1024;
const MAX_REASONS = 256;
const MAX_TEXT = 2000;

/** An answer of the wrong shape. */
export class BadAnswer extends Error {
  override readonly name = "BadAnswer";
}

type Fields = Readonly<Record<string, unknown>>;

/** Parses the answer to "stats", without fields unknown here. Throws `BadAnswer`. */
export function readStats(answer: unknown): StatsAnswer {
  return { engines: enginesOf(answer).map((engine) => ({ engine: count(engine, "engine"), ...statsOf(engine) })) };
}

/** Parses the answer to "release". Throws `BadAnswer`. */
export function readReleased(answer: unknown): ReleaseAnswer {
  return {
    engines: enginesOf(answer).map((engine) => ({
      engine: count(engine, "engine"),
      scheme: word(engine, "scheme") as EngineStats["scheme"],
      pin: word(engine, "pin") as EngineStats["pin"],
      leases: count(engine, "leases"),
      bytes: count(engine, "bytes"),
    })),
  };
}

/** Reason of a refusal; null if the answer is none. */
export function refusalOf(answer: unknown): string | null {
  const { error } = typeof answer === "object" && answer !== null ? (answer as { error?: unknown }) : {};
  return error === undefined ? null : text(error, "error");
}

function statsOf(of: Fields): EngineStats {
  const waited = fields(of, "waited");
  const leases = fields(of, "leases");
  const pressure = fields(of, "pressure");
  const invalidations = fields(of, "invalidations");
  const { source, active } = pressure;
  if (typeof active !== "boolean") throw new BadAnswer(`its "pressure.active" isn't true or false`);
  return {
    scheme: word(of, "scheme") as EngineStats["scheme"],
    pin: word(of, "pin") as EngineStats["pin"],
    submitted: count(of, "submitted"),
    completed: count(of, "completed"),
    failed: count(of, "failed"),
    held: count(of, "held"),
    reissued: count(of, "reissued"),
    perIo: count(of, "perIo"),
    refusedAtImport: count(of, "refusedAtImport"),
    revalidated: count(of, "revalidated"),
    invalidations: Object.fromEntries(MMU_EVENTS.map((event) => [event, count(invalidations, event)])) as Record<
      MmuEvent,
      number
    >,
    waited: {
      count: count(waited, "count"),
      p50Ms: amount(waited, "p50Ms"),
      p99Ms: amount(waited, "p99Ms"),
      maxMs: amount(waited, "maxMs"),
    },
    leases: {
      live: count(leases, "live"),
      bytes: count(leases, "bytes"),
      budget: count(leases, "budget"),
      taken: count(leases, "taken"),
      dropped: count(leases, "dropped"),
      residencyMax: amount(leases, "residencyMax"),
    },
    pressure: {
      source: source === null ? null : text(source, "source"),
      givenUp: count(pressure, "givenUp"),
      active,
    },
    bounced: count(of, "bounced"),
    buffered: count(of, "buffered"),
    degraded: list(of, "degraded", MAX_REASONS).map((reason) => text(reason, "degraded")),
  };
}

function enginesOf(answer: unknown): readonly Fields[] {
  return list(object(answer, "answer"), "engines", MAX_ENGINES).map((engine) => object(engine, "engines"));
}

function object(value: unknown, name: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new BadAnswer(`its "${name}" isn't an object, but ${shown(value)}`);
}

function fields(of: Fields, name: string): Fields {
  return object(of[name], name);
}

function list(of: Fields, name: string, most: number): readonly unknown[] {
  const value = of[name];
  if (!Array.isArray(value)) throw new BadAnswer(`its "${name}" isn't a list, but ${shown(value)}`);
  if (value.length > most)
    throw new BadAnswer(`its "${name}" has ${value.length} entries; at most ${most} are accepted`);
  return value;
}

function count(of: Fields, name: string): number {
  const value = of[name];
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw new BadAnswer(`its "${name}" isn't a whole number, but ${shown(value)}`);
}

function amount(of: Fields, name: string): number {
  const value = of[name];
  if (Number.isFinite(value) && (value as number) >= 0) return value as number;
  throw new BadAnswer(`its "${name}" isn't a number from 0 on, but ${shown(value)}`);
}

/** Reads a word; a later version's may be unknown here. */
function word(of: Fields, name: string): string {
  const value = of[name];
  if (typeof value === "string" && /^[A-Za-z0-9_-]{1,32}$/.test(value)) return value;
  throw new BadAnswer(`its "${name}" isn't a word, but ${shown(value)}`);
}

function text(value: unknown, name: string): string {
  if (typeof value !== "string") throw new BadAnswer(`its "${name}" isn't text, but ${shown(value)}`);
  return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value;
}

function shown(value: unknown): string {
  if (value === undefined) return "missing";
  const said = typeof value === "object" && value !== null ? (Array.isArray(value) ? "a list" : "an object") : null;
  const written = said ?? JSON.stringify(value);
  return written.length > 40 ? `${written.slice(0, 40)}…` : written;
}
