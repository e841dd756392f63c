/** Reads scenario files: YAML, each for one or many cases. Errors have the file's line. */

import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, YAMLMap } from "yaml";
import {
  CHECKED_SCHEMES,
  type CheckedScheme,
  EVENTS,
  type ForeignCall,
  INVARIANT_NAMES,
  type Pages,
  type Scenario,
  type ScenarioInvalidation,
  type ScenarioRequest,
} from "../../check/scenario.js";
import { InputError, shown } from "../../simulate/input-error.js";

const KEYS = [
  "about",
  "kernel",
  "engine",
  "expects",
  "schemes",
  "memory",
  "leases",
  "room",
  "requests",
  "invalidations",
  "other code",
  "may happen",
] as const;
const MAY_HAPPEN = {
  reclaim: "reclaims",
  compaction: "migrations",
  EIO: "eio",
  "short transfer": "short",
  "refused lease": "refusals",
  clock: "ticks",
  "late clock": "stalls",
  cancel: "cancels",
  "late end": "lateEnds",
  "refused submission": "refusedSubmissions",
  "lost monitor": "losses",
  "monitor again": "restarts",
  detach: "detaches",
  "thread end": "threadEnds",
  fork: "forks",
  ENOMEM: "noMemory",
  signal: "cancels",
} as const;
/** Keys that need the engine, and events that happen only with it, or only without it. */
const ENGINES = ["leases", "room", "other code"] as const;
const HAPPENS_TO_ENGINES = [
  "refused lease",
  "clock",
  "late clock",
  "cancel",
  "late end",
  "late release",
  "within calls",
] as const;
const HAPPENS_WITHOUT = ["fork", "ENOMEM", "signal"] as const;
/** Schemes without the engine: one for registered buffers, one for unregistered ones. */
const WITHOUT_ENGINE: readonly CheckedScheme[] = ["io_uring", "direct"];
/** Limits beyond which the state space would take too long to explore. */
const MOST = { requests: 6, invalidations: 4, "other code": 3, chunks: 4, pages: 4, times: 4 } as const;

export interface ScenarioFile {
  readonly name: string;
  readonly about: string;
  readonly text: string;
  readonly cases: readonly Scenario[];
}

/**
 * Parses the cases of a file. `name` is its name in reports, `file` its name in errors. Throws `InputError` with the
 * line.
 */
export function parseScenario(text: string, name: string, file: string): ScenarioFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const refuse = (offset: number, why: string): never => {
    throw new InputError(why, file, lines.linePos(offset).line);
  };
  const [broken] = document.errors;
  if (broken?.message.includes("call stack")) refuse(broken.pos[0], "it's nested too deeply");
  if (broken !== undefined) refuse(broken.pos[0], broken.message.split("\n")[0]!.replace(/ at line.*/, ""));
  if (!isMap(document.contents)) return refuse(0, "a scenario is a list of names with values");
  return { text, ...new Reader(document.contents, refuse).read(name) };
}

class Reader {
  readonly #root: YAMLMap;
  readonly #refuse: (offset: number, why: string) => never;
  #pages = 1;
  #chunkPages = 1;
  #engine = true;
  #requests = 0;

  constructor(root: YAMLMap, refuse: (offset: number, why: string) => never) {
    this.#root = root;
    this.#refuse = refuse;
  }

  read(name: string): Omit<ScenarioFile, "text"> {
    this.#known(this.#root, KEYS);
    const about = this.#text("about");
    const kernel = this.#oneOf("kernel", ["gup", "notifier"] as const);
    this.#engine = this.#oneOf("engine", ["pinless", "none"] as const) === "pinless" && kernel === "gup";
    const expects = this.#root.has("expects") ? this.#oneOf("expects", INVARIANT_NAMES) : null;
    const memory = this.#map(this.#root, "memory");
    this.#known(memory, ["chunks", "pages", "filled"]);
    const chunks = this.#number(memory, "chunks", 1, 1, MOST.chunks);
    this.#chunkPages = this.#number(memory, "pages", 1, 1, MOST.pages);
    if (this.#chunkPages === 3) this.#refuse(this.#at(memory), "a chunk has 1, 2 or 4 pages, not 3");
    this.#pages = chunks * this.#chunkPages;
    const filled = this.#scalar(memory, "filled") ?? "dirty";
    if (filled !== "dirty" && filled !== "clean")
      this.#refuse(this.#at(memory), `pages are filled "dirty" or "clean" (swapped in), not "${filled}"`);
    const requests = this.#list("requests").map((node) => this.#request(node));
    this.#requests = requests.length;
    const invalidations = this.#list("invalidations").map((node) => this.#invalidation(node));
    const foreign = this.#list("other code").map((node) => this.#foreign(node));
    this.#neighbours(foreign);
    if (requests.length === 0) this.#refuse(this.#at(this.#root), "a scenario has requests");
    const may = this.#map(this.#root, "may happen");
    this.#known(may, [...Object.keys(MAY_HAPPEN), "late release", "within calls"]);
    this.#makesSense(may);
    const times: Record<string, number> = {};
    for (const [key, field] of Object.entries(MAY_HAPPEN))
      times[field] = (times[field] ?? 0) + this.#number(may, key, 0, 0, MOST.times);
    const shared = {
      kernel,
      engine: this.#engine,
      expects,
      chunks,
      chunkPages: this.#chunkPages,
      pages: filled as "dirty" | "clean",
      requests,
      foreign,
      leases: this.#number(this.#root, "leases", 1, 1, MOST.chunks),
      room: this.#number(this.#root, "room", MOST.requests, 1, MOST.requests),
      ...(times as Record<(typeof MAY_HAPPEN)[keyof typeof MAY_HAPPEN], number>),
      lateRelease: this.#scalar(may, "late release") === true,
      withinCalls: this.#scalar(may, "within calls") === true,
    };
    const cases = this.#schemes().flatMap((scheme) =>
      combinations(invalidations).map((chosen) => {
        const events = chosen.map(({ event }) => event).join(" + ");
        const called = [name, scheme, ...(events === "" ? [] : [events])].join(": ");
        return { ...shared, name: called, scheme, invalidations: chosen };
      }),
    );
    return { name, about, cases };
  }

  /** Reads one of `words`; the first of them is the default. */
  #oneOf<T extends string>(key: string, words: readonly T[]): T {
    const value = this.#scalar(this.#root, key) ?? words[0]!;
    const known = words.find((word) => word === value);
    const node = this.#root.get(key, true) as Node;
    return known ?? this.#refuse(this.#at(node), `"${key}" is one of: ${words.join(", ")}; not "${String(value)}"`);
  }

  /** Refuses keys that have no meaning with this kernel or engine. */
  #makesSense(may: YAMLMap): void {
    const refuse = (of: YAMLMap, keys: readonly string[], why: string): void => {
      for (const { key } of of.items)
        if (isScalar(key) && keys.includes(String(key.value))) this.#refuse(this.#at(key), `"${key.value}" ${why}`);
    };
    if (this.#engine)
      refuse(may, HAPPENS_WITHOUT, "is of kernels without the engine: kernel: notifier, or engine: none");
    else {
      refuse(this.#root, ENGINES, "needs the engine: there's none here");
      refuse(may, HAPPENS_TO_ENGINES, "happens to the engine: there's none here");
    }
  }

  #at(node: Node | null | undefined): number {
    return node?.range?.[0] ?? 0;
  }

  #known(map: YAMLMap, words: readonly string[]): void {
    for (const { key } of map.items) {
      const word = isScalar(key) ? String(key.value) : "";
      if (!words.includes(word)) this.#refuse(this.#at(key as Node), `"${word}" isn't one of: ${words.join(", ")}`);
    }
  }

  #map(of: YAMLMap, key: string): YAMLMap {
    const node = of.get(key, true) as unknown;
    if (node === undefined) return new YAMLMap();
    return isMap(node)
      ? node
      : this.#refuse(this.#at(node as Node), `"${key}" is a list of names with values, not ${shown(node)}`);
  }

  #scalar(of: YAMLMap, key: string): unknown {
    const node = of.get(key, true) as unknown;
    if (node === undefined) return undefined;
    return isScalar(node)
      ? node.value
      : this.#refuse(this.#at(node as Node), `"${key}" is one word, not ${shown(node)}`);
  }

  #number(of: YAMLMap, key: string, otherwise: number, least: number, most: number): number {
    const value = this.#scalar(of, key) ?? otherwise;
    if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return value as number;
    return this.#refuse(
      this.#at(of.get(key, true) as Node),
      `"${key}" is a number from ${least} to ${most}, not ${String(value)}`,
    );
  }

  #text(key: string): string {
    const value = this.#scalar(this.#root, key);
    return typeof value === "string"
      ? value
      : this.#refuse(this.#at(this.#root), `"${key}" is missing: what the scenario shows`);
  }

  #list(key: "requests" | "invalidations" | "other code"): Line[] {
    const node = this.#root.get(key, true) as unknown;
    if (node === undefined) return [];
    if (!isSeq(node)) return this.#refuse(this.#at(node as Node), `"${key}" is a list, not ${shown(node)}`);
    const most = MOST[key];
    if (node.items.length > most)
      this.#refuse(this.#at(node), `"${key}" has at most ${most} lines, not ${node.items.length}`);
    return node.items.map((item) =>
      isScalar(item) && typeof item.value === "string"
        ? { text: item.value, offset: this.#at(item) }
        : this.#refuse(this.#at(item as Node), `a line of "${key}" is words, not ${shown(item)}`),
    );
  }

  #schemes(): readonly CheckedScheme[] {
    const node = this.#root.get("schemes", true) as unknown;
    if (node === undefined || (isScalar(node) && node.value === "all"))
      return this.#engine ? CHECKED_SCHEMES : WITHOUT_ENGINE;
    const named = isSeq(node) ? node.items : [node];
    return named.map((item) => {
      const value = isScalar(item) ? item.value : "";
      const scheme = CHECKED_SCHEMES.find((s) => s === value);
      return (
        scheme ??
        this.#refuse(this.#at(item as Node), `"${String(value)}" isn't a scheme: ${CHECKED_SCHEMES.join(", ")}, or all`)
      );
    });
  }

  /** Parses "page 0" or "pages 0-1". */
  #pagesOf({ text, offset }: Line, pages: string | undefined): Pages {
    const [, first, last = first] = /^pages? (\d+)(?:-(\d+))?$/.exec(pages ?? "") ?? [];
    if (first === undefined) return this.#refuse(offset, `"${text}" doesn't say which "page 0" or "pages 0-1"`);
    const range = { first: Number(first), last: Number(last) };
    if (range.last < range.first || range.last >= this.#pages)
      this.#refuse(offset, `"${text}": the memory has pages 0 to ${this.#pages - 1}`);
    return range;
  }

  #request(line: Line): ScenarioRequest {
    const [, verb, pages, attached] = /^(\S+) ?(.*?)(, by an attached engine)?$/.exec(line.text) ?? [];
    if (attached !== undefined && !this.#engine)
      this.#refuse(line.offset, `"${line.text}": there's no engine that could attach the memory`);
    if (verb !== "read" && verb !== "write")
      this.#refuse(line.offset, `"${verb}" isn't one of: read (a file into memory), write (memory to a file)`);
    return { write: verb === "write", attached: attached !== undefined, ...this.#pagesOf(line, pages) };
  }

  #invalidation(line: Line): readonly ScenarioInvalidation[] {
    const [, verb = "", pages, veto, awaited] =
      /^(\S+) (pages? [\d-]+)(, may not wait|, until ([a-f]) is answered)?$/.exec(line.text) ?? [];
    const awaits = awaited === undefined ? -1 : awaited.charCodeAt(0) - 97;
    if (awaits >= this.#requests || (awaits >= 0 && !this.#engine))
      this.#refuse(line.offset, `"${line.text}": there's no request ${awaited}, or no engine that could answer it`);
    const known = EVENTS.find((event) => event === verb);
    if (known === undefined && verb !== "any")
      this.#refuse(
        line.offset,
        `"${line.text}" doesn't read: EVENT page N[, may not wait | , until a is answered], ` +
          `with an EVENT of ${EVENTS.join(", ")}, or any`,
      );
    const range = this.#pagesOf(line, pages);
    const events = known === undefined ? EVENTS : [known];
    const whole = range.first % this.#chunkPages === 0 && (range.last + 1) % this.#chunkPages === 0;
    const partly = events.find((event) => event === "UNMAP" || event === "RELEASE");
    if (this.#engine && partly !== undefined && !whole)
      this.#refuse(line.offset, `"${line.text}": ${partly} is of whole chunks of ${this.#chunkPages} pages`);
    const blockable = veto !== ", may not wait";
    return events.map((event) => ({ event, blockable, awaits, ...range }));
  }

  /** Refuses discards with gaps between them: calls that are seen together are drained as one range. */
  #neighbours(calls: readonly ForeignCall[]): void {
    const chunk = (page: number): number => Math.floor(page / this.#chunkPages);
    const discards = calls.filter(({ call }) => call === "discard").sort((a, b) => a.first - b.first);
    discards.forEach(({ first }, i) => {
      const before = discards.slice(0, i).map(({ last }) => chunk(last));
      if (i > 0 && chunk(first) > Math.max(...before) + 1)
        this.#refuse(this.#at(this.#root.get("other code", true) as Node), "other code discards chunks that touch");
    });
  }

  #foreign(line: Line): ForeignCall {
    const [, verb, pages, apart, own, unseen] =
      /^(\S+) (pages? [\d-]+)(, a mapping each)?(, by the engine's thread)?(, seen late)?$/.exec(line.text) ?? [];
    if (verb !== "discard" && verb !== "unmap")
      this.#refuse(
        line.offset,
        `"${line.text}" doesn't read: ` +
          "discard page N or unmap page N[, a mapping each][, by the engine's thread][, seen late]",
      );
    const { first, last } = this.#pagesOf(line, pages);
    const each = Array.from({ length: last - first + 1 }, (_, i) => ({ first: first + i, last: first + i }));
    return {
      call: verb as "discard" | "unmap",
      events: apart === undefined ? [{ first, last }] : each,
      own: own !== undefined,
      unseen: unseen !== undefined,
      first,
      last,
    };
  }
}

interface Line {
  readonly text: string;
  readonly offset: number;
}

/**
 * Multiplies the alternatives of each line out. Lines that are equal are interchangeable: of combinations that differ
 * only in their order, one is kept.
 */
function combinations(lines: readonly (readonly ScenarioInvalidation[])[]): ScenarioInvalidation[][] {
  let all: ScenarioInvalidation[][] = [[]];
  for (const line of lines) all = all.flatMap((chosen) => line.map((next) => [...chosen, next]));
  const seen = new Set<string>();
  return all.filter((chosen) => {
    const key = chosen
      .map((one) => JSON.stringify(one))
      .sort()
      .join();
    const fresh = !seen.has(key);
    seen.add(key);
    return fresh;
  });
}
