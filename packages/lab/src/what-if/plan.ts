/**
 * Format of a what-if file: a machine, its load, its memory operations, and lists of values to sweep. The table below
 * is the format; `plans/README.md` describes it.
 */

import { InputError, type InputSource, inputErrorAt, shown } from "../simulate/input-error.js";
import { bytes, distribution, type Field, flag, number, sizeOf, whole, word } from "./fields.js";

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const TIB = 2 ** 40;
const HUGE = 2 * MIB;
const MOST_POINTS = 64;

export const FIELDS = {
  machine: {
    bytes: bytes(64 * GIB, 256 * MIB, TIB, HUGE, "memory of the machine"),
    nodes: whole(1, 1, 64, "NUMA nodes; with one, NUMA balancing does nothing"),
    kernelShare: number(
      0.04,
      0,
      0.5,
      "of the memory, what the kernel has for itself: it can't be moved, and lies together",
    ),
    strayShare: number(0.02, 0, 1, "of the other areas of 2 MiB, those with a page of the kernel in them nevertheless"),
    otherShare: number(0.2, 0, 0.95, "of the memory, what others have: it can be moved, and lies anywhere"),
  },
  buffers: {
    bytes: bytes(8 * GIB, HUGE, TIB, HUGE, "what the program does I/O with"),
    machineShare: number(0, 0, 0.95, "instead of bytes: this much of the machine's memory; 0: bytes"),
    activeBytes: bytes(0, 0, TIB, HUGE, "the part that requests go to at the time; 0: all of it"),
    pages: word("small", ["small", "huge"], "what the buffers are made of"),
    spreadBytes: bytes(
      0,
      0,
      TIB,
      HUGE,
      "small pages only: over how much memory they lie scattered; 0: twice their size",
    ),
    pieceBytes: bytes(4 * KIB, 4 * KIB, HUGE, 4 * KIB, "small pages only: how much of a buffer lies in one piece"),
    backing: word("anonymous", ["anonymous", "file"], "file: a mapping of a file, which writeback concerns"),
    inherited: flag(true, "whether children get them at fork; pinless never lets them (MADV_DONTFORK)"),
  },
  io: {
    scheme: word(
      "io_uring",
      ["io_uring", "aio", "direct"],
      "io_uring with registered buffers; aio and direct register nothing",
    ),
    registered: flag(true, "io_uring only: whether buffers are registered (or leased) at all"),
    threads: whole(1, 1, 64, "threads that submit, a processor each"),
    depth: whole(32, 1, 4096, "requests that each keeps in flight"),
    requestBytes: bytes(4 * KIB, 4 * KIB, HUGE, 4 * KIB, "size of a request"),
    writeShare: number(0, 0, 1, "of the requests, those that write the disk (device reads)"),
  },
  device: {
    latencyUs: distribution(
      [
        [0, 60],
        [0.5, 80],
        [0.99, 200],
        [0.999, 900],
        [1, 2000],
      ],
      "of one request alone",
    ),
    parallel: whole(64, 1, 4096, "requests that it works on at a time"),
    mibPerSecond: number(6000, 1, 1e6, "what it transfers at most"),
    inline: flag(false, "no device at all: the submitting thread copies (zram, tmpfs)"),
  },
  events: {
    per: word(
      "machine",
      ["machine", "GiB"],
      "whether the rates below are for the machine, or for each GiB of its memory",
    ),
    times: number(1, 0, 1e6, "all rates times this: for sweeps"),
    compaction: number(0, 0, 1e6, "areas of 2 MiB a second that the kernel wants to have free"),
    numaBalancing: number(
      0,
      0,
      1e6,
      "ranges of 2 MiB of the buffers a second that are looked at, and moved if they're on a wrong node",
    ),
    khugepaged: number(0, 0, 1e6, "ranges of 2 MiB of the buffers a second that it wants to make one huge page"),
    reclaim: number(
      0,
      0,
      1e6,
      "ranges of 2 MiB of the buffers a second that reclaim looks at; cold ones are swapped out",
    ),
    discard: number(0, 0, 1e6, "ranges of 2 MiB of the buffers a second that the program discards (madvise)"),
    move: number(
      0,
      0,
      1e6,
      "ranges of 2 MiB of the buffers a second that the program moves or collapses itself (move_pages, madvise)",
    ),
    revoke: number(0, 0, 1e4, "times a second that all pins are asked back (pinless release, pressure on memory)"),
    writeback: number(
      0,
      0,
      1e6,
      "ranges of 2 MiB of the buffers a second that are written back, where they're of a file",
    ),
    fork: number(0, 0, 1e4, "children a second that the program starts"),
    writebackUs: number(2000, 1, 1e6, "how long one range is under writeback"),
    coldMs: number(100, 1, 1e6, "without I/O for so long, a range is cold"),
  },
  lease: {
    idleMs: number(50, 1, 1e6, "pinless: without I/O for so long, a lease is given back"),
    maxMs: number(1000, 1, 1e6, "pinless: and after so long in any case"),
    budgetBytes: bytes(512 * MIB, HUGE, 512 * MIB, HUGE, "pinless: bytes that leases may pin at a time"),
  },
  notifier: {
    filter: flag(true, "the proposal: the type of an event tells which ones needn't invalidate anything"),
  },
  run: {
    seconds: number(1, 0.001, 3600, "of virtual time, with I/O and events; then everything comes to rest"),
  },
} as const;

type Fields = typeof FIELDS;
type ValueOf<F> = F extends Field<infer T> ? T : never;

/** One point of a what-if: a value for every field. */
export type Plan = {
  readonly [S in keyof Fields]: { readonly [F in keyof Fields[S]]: ValueOf<Fields[S][F]> };
};

/** Point of the sweep: the swept values, and the whole plan. */
export interface Point {
  readonly values: Readonly<Record<string, number | string | boolean>>;
  readonly plan: Plan;
}

export interface Study {
  readonly title: string;
  /** The swept fields, as `section.field`, in the order of the file. */
  readonly swept: readonly string[];
  readonly points: readonly Point[];
}

type Values = Record<string, Record<string, unknown>>;
interface Axis {
  readonly section: string;
  readonly field: string;
  readonly values: readonly { readonly value: unknown; readonly line: number | null }[];
}

/** Checks a what-if file and multiplies its sweep out. Throws `InputError` with the line. */
export function readStudy(source: InputSource): Study {
  const top = objectAt(source, [], source.value);
  const title = top.title ?? "";
  if (typeof title !== "string") throw inputErrorAt(source, ["title"], `title takes a text, not ${shown(title)}`);
  const base: Values = {};
  for (const [section, fields] of Object.entries(FIELDS))
    base[section] = Object.fromEntries(Object.entries(fields).map(([name, { otherwise }]) => [name, otherwise]));
  for (const [section, given] of Object.entries(top)) {
    if (section === "title" || section === "sweep") continue;
    if (!Object.hasOwn(FIELDS, section))
      throw unknownWord(source, [section], [...Object.keys(FIELDS), "title", "sweep"]);
    for (const [name, value] of Object.entries(objectAt(source, [section], given)))
      base[section]![name] = readField(source, [section, name], section, name, value);
  }
  const axes = Object.entries(objectAt(source, ["sweep"], top.sweep ?? {})).map(([key, values]) =>
    readAxis(source, key, values),
  );
  return {
    title,
    swept: axes.map(({ section, field }) => `${section}.${field}`),
    points: pointsOf(source, base, axes),
  };
}

function readAxis(source: InputSource, key: string, values: unknown): Axis {
  const [section = "", field = "", ...more] = key.split(".");
  if (!Object.hasOwn(FIELDS, section) || more.length > 0)
    throw unknownWord(
      source,
      ["sweep", key],
      Object.keys(FIELDS).map((name) => `${name}.…`),
    );
  if (!Array.isArray(values) || values.length === 0)
    throw inputErrorAt(source, ["sweep", key], `sweep "${key}" takes a list of values, not ${shown(values)}`);
  const read = values.map((value, i) => {
    const path = ["sweep", key, String(i)];
    return { value: readField(source, path, section, field, value), line: source.lineOf(path) };
  });
  return { section, field, values: read };
}

function readField(
  source: InputSource,
  path: readonly string[],
  section: string,
  name: string,
  value: unknown,
): unknown {
  const fields = FIELDS[section as keyof Fields] as Readonly<Record<string, Field<unknown>>>;
  const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
  if (field === undefined) throw unknownWord(source, path, Object.keys(fields), `${section}.${name}`);
  const read = field.read(value);
  if ("wrong" in read) throw inputErrorAt(source, path, `${section}.${name} ${read.wrong}`);
  return read.ok;
}

/** Multiplies the lists out; the last list varies fastest. */
function pointsOf(source: InputSource, base: Values, axes: readonly Axis[]): readonly Point[] {
  const count = axes.reduce((product, { values }) => product * values.length, 1);
  if (count > MOST_POINTS)
    throw inputErrorAt(source, ["sweep"], `the sweep has ${count} combinations: at most ${MOST_POINTS} are allowed`);
  return Array.from({ length: count }, (_, index) => {
    const values: Values = Object.fromEntries(Object.entries(base).map(([name, fields]) => [name, { ...fields }]));
    const special: Record<string, number | string | boolean> = {};
    let line: number | null = null;
    let rest = index;
    for (const axis of axes.toReversed()) {
      const chosen = axis.values[rest % axis.values.length]!;
      rest = Math.floor(rest / axis.values.length);
      values[axis.section]![axis.field] = chosen.value;
      special[`${axis.section}.${axis.field}`] = chosen.value as number;
      line = chosen.line;
    }
    const plan = completed(values as unknown as Plan);
    const impossible = whyImpossible(plan);
    if (impossible !== null)
      throw new InputError(impossible.why, source.name, line ?? lineOfAny(source, impossible.fields));
    return { values: Object.fromEntries(Object.entries(special).reverse()), plan };
  });
}

/** Replaces zeros that stand for another value. */
function completed(plan: Plan): Plan {
  const { buffers, machine } = plan;
  const rounded = (bytes: number): number => Math.floor(bytes / HUGE) * HUGE;
  const size = buffers.machineShare > 0 ? Math.max(HUGE, rounded(machine.bytes * buffers.machineShare)) : buffers.bytes;
  const spread = buffers.spreadBytes || Math.min(2 * size, rounded(machine.bytes * (1 - machine.kernelShare)));
  const active = buffers.activeBytes || size;
  return { ...plan, buffers: { ...buffers, bytes: size, activeBytes: active, spreadBytes: spread } };
}

/** A plan with everything as it is by default, but for these. */
export function planWith(changes: { readonly [S in keyof Plan]?: Partial<Plan[S]> }): Plan {
  const sections = Object.entries(FIELDS).map(([section, fields]) => [
    section,
    {
      ...Object.fromEntries(Object.entries(fields).map(([name, { otherwise }]) => [name, otherwise])),
      ...changes[section as keyof Plan],
    },
  ]);
  return completed(Object.fromEntries(sections) as Plan);
}

interface Impossible {
  readonly why: string;
  readonly fields: readonly string[];
}

function whyImpossible({ machine, buffers, io }: Plan): Impossible | null {
  const { kernelShare, otherShare } = machine;
  const free = machine.bytes * (1 - kernelShare - otherShare);
  if (buffers.bytes > free) {
    const taken = `${sizeOf(machine.bytes)} of which others and the kernel have ${sizeOf(machine.bytes - free)}`;
    const why = `buffers of ${sizeOf(buffers.bytes)} don't fit into a machine of ${taken}`;
    return { why, fields: ["buffers.machineShare", "buffers.bytes", "machine.bytes", "machine.otherShare"] };
  }
  if (buffers.activeBytes > buffers.bytes)
    return { why: "buffers.activeBytes is more than buffers.bytes", fields: ["buffers.activeBytes"] };
  if (buffers.spreadBytes < buffers.bytes || buffers.spreadBytes > machine.bytes * (1 - kernelShare)) {
    const spread = `${sizeOf(buffers.spreadBytes)} of a machine of ${sizeOf(machine.bytes)}`;
    const why = `buffers of ${sizeOf(buffers.bytes)} can't lie scattered over ${spread}`;
    return { why, fields: ["buffers.spreadBytes", "buffers.bytes"] };
  }
  const inFlight = io.threads * io.depth * io.requestBytes;
  if (inFlight > buffers.activeBytes) {
    const requests = `${io.threads} × ${io.depth} requests of ${sizeOf(io.requestBytes)}`;
    const why = `${requests} need ${sizeOf(inFlight)} of buffers, and ${sizeOf(buffers.activeBytes)} are in use`;
    return { why, fields: ["io.depth", "io.threads", "io.requestBytes", "buffers.activeBytes"] };
  }
  return null;
}

function lineOfAny(source: InputSource, fields: readonly string[]): number | null {
  for (const field of fields) {
    const line = source.lineOf(field.split("."));
    if (line !== null) return line;
  }
  return null;
}

function objectAt(source: InputSource, path: readonly string[], value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw inputErrorAt(source, path, `${path.at(-1) ?? "a what-if file"} takes an object, not ${shown(value)}`);
}

function unknownWord(
  source: InputSource,
  path: readonly string[],
  known: readonly string[],
  name?: string,
): InputError {
  return inputErrorAt(source, path, `"${name ?? path.at(-1)}" isn't known; there are ${known.join(", ")}`);
}
