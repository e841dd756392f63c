/**
 * Steps of Chrome trace events: the beginning and the end of each slice, and each mark, in the order of their times.
 * A lane is a process of the trace, which is a group of lanes in those of pinless.
 */

import {
  type Cause,
  isObject,
  type JsonObject,
  type ShownTrace,
  TraceFileError,
  type TraceStep,
} from "./shown-trace.js";

/** Kinds of events that are steps, names or flows. */
const SHOWN = "BEXiIMsf";

interface OpenSlice {
  readonly step: number;
  readonly name: string;
  readonly tsUs: number;
  /** Flows that arrive after its beginning: they belong to its end. */
  readonly arriving: Cause[];
}

interface ChromeEvent extends JsonObject {
  readonly ph: string;
  readonly ts: number;
  readonly pid: number;
  readonly tid: number;
}

export function chromeSteps(events: readonly unknown[], remarks: readonly string[]): ShownTrace {
  const bad = events.findIndex((event) => !isEvent(event));
  if (bad >= 0)
    throw new TraceFileError(
      `event ${bad} has no "ph", "pid", "tid" and "ts": this isn't a file of Chrome trace events`,
    );
  const steps = new ChromeSteps();
  const all = events as readonly ChromeEvent[];
  const timed = all.filter(({ ph }) => ph !== "M" && SHOWN.includes(ph)).sort((a, b) => a.ts - b.ts);
  for (const event of all) if (event.ph === "M") steps.name(event);
  for (const event of timed) steps.add(event);
  const unknown = new Set(all.filter(({ ph }) => !SHOWN.includes(ph)).map(({ ph }) => ph));
  if (steps.list.length === 0) throw new TraceFileError("the trace has no slices and no marks");
  return {
    title: `${steps.list.length.toLocaleString("en-US")} events in ${steps.lanes.length} groups of lanes`,
    lanes: steps.lanes,
    steps: steps.list,
    violation: null,
    remarks:
      unknown.size === 0 ? remarks : [...remarks, `Events of the kinds ${[...unknown].join(", ")} aren't shown.`],
  };
}

function isEvent(event: unknown): event is ChromeEvent {
  if (!isObject(event) || typeof event.ph !== "string") return false;
  return event.ph === "M" || (typeof event.ts === "number" && Number.isFinite(event.ts));
}

class ChromeSteps {
  readonly list: TraceStep[] = [];
  readonly #processes = new Map<unknown, string>();
  readonly #used = new Set<string>();
  /** Slices that haven't ended, by lane, innermost last. */
  readonly #open = new Map<string, OpenSlice[]>();
  /** Steps from which flows start, by the flow's id. */
  readonly #flows = new Map<unknown, number>();
  #firstUs: number | null = null;

  get lanes(): readonly string[] {
    const named = [...this.#processes.values()].filter((name) => this.#used.has(name));
    return [...new Set([...named, ...this.#used])];
  }

  name({ pid, name, args }: ChromeEvent): void {
    if (name === "process_name" && isObject(args)) this.#processes.set(pid, String(args.name));
  }

  add(event: ChromeEvent): void {
    const { ph, ts, pid, tid } = event;
    this.#firstUs ??= ts;
    const key = `${pid} ${tid}`;
    const open = this.#open.get(key) ?? [];
    this.#open.set(key, open);
    const name = String(event.name ?? "");
    switch (ph) {
      case "B":
        open.push({ step: this.list.length, name, tsUs: ts, arriving: [] });
        this.#step(event, `${name} begins`);
        break;
      case "E":
        this.#end(event, open.pop());
        break;
      case "X":
        this.#step(event, `${name}, for ${milliseconds(Number(event.dur ?? 0))}`);
        break;
      case "s":
        this.#flows.set(event.id, open.at(-1)?.step ?? this.list.length - 1);
        break;
      case "f":
        this.#arrive(event, open.at(-1));
        break;
      default:
        this.#step(event, name);
    }
  }

  #end(event: ChromeEvent, slice: OpenSlice | undefined): void {
    if (slice === undefined) return;
    this.#step(event, `${slice.name} ends, after ${milliseconds(event.ts - slice.tsUs)}`, slice.arriving);
  }

  #arrive({ id, name, ts }: ChromeEvent, slice: OpenSlice | undefined): void {
    const step = this.#flows.get(id);
    if (step === undefined || slice === undefined) return;
    const cause = { step, name: String(name) };
    const began = this.list[slice.step]!;
    if (ts === slice.tsUs) this.list[slice.step] = { ...began, causes: [...began.causes, cause] };
    else slice.arriving.push(cause);
  }

  #step({ pid, ts, args }: ChromeEvent, what: string, causes: readonly Cause[] = []): void {
    const lane = this.#processes.get(pid) ?? `process ${String(pid)}`;
    this.#used.add(lane);
    const notes = isObject(args) ? Object.entries(args).map(([key, value]) => `${key}: ${plain(value)}`) : [];
    this.list.push({ lane, what, notes, changed: [], causes, atMs: (ts - this.#firstUs!) / 1000 });
  }
}

function plain(value: unknown): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function milliseconds(us: number): string {
  return `${(us / 1000).toLocaleString("en-US", { maximumFractionDigits: 3 })} ms`;
}
