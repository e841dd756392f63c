/**
 * Lanes of an engine or a simulation as Chrome trace events, which Perfetto and chrome://tracing show: a slice for each
 * request, invalidation, lease and call, and flows from cause to effect. Events are written as they happen; memory is
 * needed only for slices that haven't ended. The file is the format's array, which readers accept without its end.
 */

/** Groups of lanes, in the order in which they are shown; a group is a process of the trace. */
const GROUPS = ["requests", "invalidations", "leases", "kernel", "monitor", "other threads"] as const;
export type Group = (typeof GROUPS)[number];

/** Name of the event after which nothing begins any more. */
const FULL = "the trace is full: events that begin from here on are dropped";

/** Numbers of a slice that are shown with it. */
export type Details = Readonly<Record<string, string | number>>;

interface AddressRange {
  readonly start: number;
  readonly end: number;
}

interface Slice {
  readonly name: string;
  readonly group: Group;
  readonly lane: number;
  readonly range: AddressRange | null;
  /** Flows that end with the slice. */
  readonly arriving: { readonly id: number; readonly name: string }[];
}

export class ChromeTrace {
  readonly #write: (text: string) => void;
  readonly #nowMs: () => number;
  readonly #chunkBytes: number;
  /** Slices that haven't ended, by group and key. */
  readonly #open = new Map<string, Slice>();
  /** Lanes in use, by group. */
  readonly #busy = new Map<Group, Set<number>>(GROUPS.map((group) => [group, new Set()]));
  /** Lanes that have a name. */
  readonly #named = new Set<string>();
  readonly #maxBytes: number;
  #bytes = 0;
  #flows = 0;
  #dropped = 0;

  /**
   * `chunkBytes` is the size of a chunk, for which an invalidation waits as a whole. After `maxBytes` no slice begins
   * any more, and the trace says so.
   */
  constructor(
    write: (text: string) => void,
    nowMs: () => number,
    chunkBytes: number,
    maxBytes = Number.POSITIVE_INFINITY,
  ) {
    this.#write = write;
    this.#chunkBytes = chunkBytes;
    this.#nowMs = nowMs;
    this.#maxBytes = maxBytes;
    for (const [i, name] of GROUPS.entries()) {
      this.#event({ ph: "M", pid: i + 1, tid: 0, ts: 0, name: "process_name", args: { name } });
      this.#event({ ph: "M", pid: i + 1, tid: 0, ts: 0, name: "process_sort_index", args: { sort_index: i } });
    }
  }

  #event(event: object): void {
    const text = `${this.#bytes === 0 ? "[\n" : ",\n"}${JSON.stringify(event)}`;
    this.#bytes += text.length;
    this.#write(text);
  }

  /** Slices and instants that were dropped, because the trace was full. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Counts an event out if the trace is full; the first time it says so. */
  #isFull(): boolean {
    if (this.#bytes < this.#maxBytes) return false;
    if (this.#dropped++ === 0)
      this.#emit("requests", 0, { ph: "i", s: "t", name: FULL, cat: "trace", args: { maxBytes: this.#maxBytes } });
    return true;
  }

  /** Begins a slice, in the lowest free lane of its group unless `lane` is given. Returns the lane. */
  begin(group: Group, key: number | string, name: string, details: Details, where: Partial<Where> = {}): number {
    const busy = this.#busy.get(group)!;
    let lane = where.lane ?? 0;
    while (where.lane === undefined && busy.has(lane)) lane++;
    if (this.#isFull()) return lane;
    busy.add(lane);
    this.#open.set(`${group} ${key}`, { name, group, lane, range: where.range ?? null, arriving: [] });
    this.#emit(group, lane, { ph: "B", name, cat: group, args: details });
    return lane;
  }

  /** Ends a slice; without effect if it isn't open. */
  end(group: Group, key: number | string, details: Details = {}): void {
    const slice = this.#open.get(`${group} ${key}`);
    if (slice === undefined) return;
    const { lane, arriving } = slice;
    for (const { id, name } of arriving) this.#emit(group, lane, { ph: "f", bp: "e", id, name, cat: "flow" });
    this.#emit(group, lane, { ph: "E", args: details });
    this.#open.delete(`${group} ${key}`);
    this.#busy.get(group)!.delete(lane);
  }

  /** Adds an event without duration. */
  instant(group: Group, name: string, details: Details = {}, lane = 0): void {
    if (!this.#isFull()) this.#emit(group, lane, { ph: "i", s: "t", name, cat: group, args: details });
  }

  /** Adds flows to a slice that has begun now, from every open slice of `from` on the same memory. */
  causedBy(from: Group, name: string, group: Group, key: number | string): void {
    const to = this.#open.get(`${group} ${key}`);
    for (const cause of to === undefined ? [] : this.#on(from, to.range)) {
      const id = this.#leave(cause, name);
      this.#emit(group, to!.lane, { ph: "f", bp: "e", id, name, cat: "flow" });
    }
  }

  /** Memory of an open slice. */
  rangeOf(group: Group, key: number | string): AddressRange | null {
    return this.#open.get(`${group} ${key}`)?.range ?? null;
  }

  /** Adds a flow between two open slices. */
  leadsTo(from: readonly [Group, number | string], to: readonly [Group, number | string], name: string): void {
    const [cause, effect] = [from, to].map(([group, key]) => this.#open.get(`${group} ${key}`));
    if (cause === undefined || effect === undefined) return;
    const id = this.#leave(cause, name);
    this.#emit(effect.group, effect.lane, { ph: "f", bp: "e", id, name, cat: "flow" });
  }

  /**
   * Adds flows from a slice that has begun now to the ends of open slices of `others` on the same chunks. `concerns`
   * tells by a slice's name if it's waited for.
   */
  waitsFor(
    group: Group,
    key: number | string,
    others: Group,
    name: string,
    concerns: (slice: string) => boolean = () => true,
  ): void {
    const from = this.#open.get(`${group} ${key}`);
    if (from?.range == null) return;
    const chunks = {
      start: Math.floor(from.range.start / this.#chunkBytes) * this.#chunkBytes,
      end: Math.ceil(from.range.end / this.#chunkBytes) * this.#chunkBytes,
    };
    for (const other of this.#on(others, chunks))
      if (concerns(other.name)) other.arriving.push({ id: this.#leave(from, name), name });
  }

  #leave({ group, lane }: Slice, name: string): number {
    const id = ++this.#flows;
    this.#emit(group, lane, { ph: "s", id, name, cat: "flow" });
    return id;
  }

  #on(group: Group, range: AddressRange | null): Slice[] {
    const meets = (slice: Slice): boolean =>
      range !== null && slice.range !== null && slice.range.start < range.end && range.start < slice.range.end;
    return [...this.#open.values()].filter((slice) => slice.group === group && meets(slice));
  }

  #emit(group: Group, lane: number, event: object): void {
    const pid = GROUPS.indexOf(group) + 1;
    const tid = 100_000 * pid + lane;
    if (!this.#named.has(`${tid}`)) {
      this.#named.add(`${tid}`);
      this.#event({ ph: "M", pid, tid, ts: 0, name: "thread_name", args: { name: `${group} ${lane}` } });
    }
    this.#event({ ...event, pid, tid, ts: Math.round(1e6 * this.#nowMs()) / 1000 });
  }

  /** Ends all slices, innermost first, and the file. */
  close(): void {
    for (const key of [...this.#open.keys()].reverse()) {
      const { group } = this.#open.get(key)!;
      this.end(group, key.slice(group.length + 1), { unfinished: "the run has ended" });
    }
    if (this.#dropped > 0)
      this.#emit("requests", 0, { ph: "i", s: "t", name: "dropped", cat: "trace", args: { dropped: this.#dropped } });
    this.#write("\n]\n");
  }
}

interface Where {
  readonly lane: number;
  /** Memory that the slice is about. */
  readonly range: AddressRange;
}
