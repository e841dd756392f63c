/**
 * Protective steps of the engine, each of which can be left out of a copy of it: as text of the built modules that is replaced by other text.
 * Files of `core` are what ships. `simulate/check/monitor.js` stands for `src/core/monitor-program.ts`, whose steps it takes.
 */

export interface Mutant {
  readonly name: string;
  readonly leavesOut: string;
  /** Where it is, of what was built; the text, which is there just once (spaces don't count); and what it's replaced by. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** The scenario that shows it. */
  readonly shows: string;
}

const GATE = "core/gate.js";
const NOTIFIER = "core/notifier.js";
const DISPATCHER = "core/dispatcher.js";
const LEASES = "core/leases.js";
const LEASE_TABLE = "core/lease-table.js";
const FOREIGN = "core/foreign-calls.js";
const EVENTS = "core/events.js";
const MONITOR = "simulate/check/monitor.js";

/** A row of the table of events with one entry changed. */
function row(event: string, entry: string, to: string, leavesOut: string): Mutant {
  const rows: Record<string, string> = {
    UNMAP: '{ deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "efault" }',
    CLEAR: '{ deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "revalidate" }',
    MIGRATE: '{ deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "revalidate" }',
    PROTECTION_VMA: '{ deviceWrites: true, deviceReads: false, lease: "retire", afterwards: "readOnly" }',
    PROTECTION_PAGE: '{ deviceWrites: true, deviceReads: false, lease: "drop", afterwards: "revalidate" }',
    SOFT_DIRTY: '{ deviceWrites: true, deviceReads: false, lease: "drop", afterwards: "revalidate" }',
    EXCLUSIVE: '{ deviceWrites: true, deviceReads: true, lease: "keep", afterwards: "goOn" }',
    RELEASE: '{ deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "refuse" }',
  };
  const from = rows[event] ?? "";
  const changed = from.replace(new RegExp(`${entry}: [^,} ]+`), `${entry}: ${to}`);
  const name = `row-${event}-${entry}`.toLowerCase().replaceAll("_", "-");
  return { name, leavesOut, file: EVENTS, from: `${event}: ${from}`, to: `${event}: ${changed}`, shows: "pairs" };
}

export const MUTANTS: readonly Mutant[] = [
  // The lock: who is held, who is waited for, whose turn it is.
  {
    name: "no-hold",
    leavesOut: "I/O waits while an invalidation has its range",
    file: GATE,
    from: "(gate & (write ? EXCLUDES_DEVICE_READS : EXCLUDES_DEVICE_WRITES)) !== 0 ? WAIT : GO",
    to: "GO",
    shows: "pairs",
  },
  {
    name: "no-wait-for-device-writes",
    leavesOut: "an invalidation waits for device writes in flight",
    file: GATE,
    from: "if ((gate & EXCLUDES_DEVICE_WRITES) !== 0 && table.inFlight(chunk, DEVICE_WRITES) !== 0) return false;",
    to: "",
    shows: "pairs",
  },
  {
    name: "no-wait-for-device-reads",
    leavesOut: "an invalidation waits for device reads in flight",
    file: GATE,
    from: "if ((gate & EXCLUDES_DEVICE_READS) !== 0 && table.inFlight(chunk, DEVICE_READS) !== 0) return false;",
    to: "",
    shows: "pairs",
  },
  {
    name: "no-odd-sequence",
    leavesOut: "the sequence is odd while an invalidation is in progress",
    file: GATE,
    from: "const sequence = table.add(chunk, SEQUENCE, 1);",
    to: "const sequence = table.add(chunk, SEQUENCE, 2);",
    shows: "pairs",
  },
  {
    name: "no-drain-mark",
    leavesOut: "a chunk that isn't quiet yet is marked, so that its last request tells the invalidation",
    file: GATE,
    from: "table.setBits(c, DRAINING);",
    to: "",
    shows: "pairs",
  },
  {
    name: "no-release-of-the-held",
    leavesOut: "what an invalidation held goes when it ends",
    file: GATE,
    from: "return true; }); this.#releaseHeld();",
    to: "return true; });",
    shows: "pairs",
  },
  {
    name: "not-phase-fair",
    leavesOut: "the next invalidation waits until what the last one held was let go",
    file: NOTIFIER,
    from: "return !this.#subscribersOn(range).some((s) => s.holds(range));",
    to: "return true;",
    shows: "between-two",
  },
  {
    name: "overtaking",
    leavesOut: "invalidations of the same range have their turns in order",
    file: NOTIFIER,
    from: "for (let i = 0; i < place; i++) if (overlaps(this.#waiting[i].range, range)) return false;",
    to: "",
    shows: "two-chunks",
  },
  {
    name: "two-at-a-time",
    leavesOut: "one invalidation at a time has a range",
    file: NOTIFIER,
    from: "if (this.#active.overlapsAny(range)) return false; for",
    to: "for",
    shows: "pairs",
  },
  {
    name: "no-turns-at-the-end",
    leavesOut: "the end of an invalidation gives the next its turn",
    file: NOTIFIER,
    from: "subscriber.resume(invalidation); this.#takeTurns();",
    to: "subscriber.resume(invalidation);",
    shows: "pairs",
  },
  // The veto.
  {
    name: "veto-over-io",
    leavesOut: "one that may not wait is refused while I/O is in flight",
    file: NOTIFIER,
    from: "return this.#subscribersOn(range).every((s) => !s.holds(range) && s.isQuiet(range, event));",
    to: "return true;",
    shows: "veto",
  },
  {
    name: "veto-over-another",
    leavesOut: "one that may not wait is refused while another has the range",
    file: NOTIFIER,
    from: "if (this.#active.overlapsAny(range) || this.#waiting.some((other) => overlaps(other.range, range))) return false;",
    to: "",
    shows: "veto",
  },
  {
    name: "veto-leaves-traces",
    leavesOut: "a refusal changes nothing",
    file: NOTIFIER,
    from: 'if (!this.#isFree(invalidation)) return "EAGAIN";',
    to: 'if (!this.#isFree(invalidation)) { this.#subscribersOn(invalidation.range).forEach((s) => s.stop(invalidation)); return "EAGAIN"; }',
    shows: "veto",
  },
  // The table of events.
  row("UNMAP", "deviceWrites", "false", "UNMAP waits for device writes"),
  row("UNMAP", "afterwards", '"revalidate"', "after UNMAP I/O fails with EFAULT"),
  row("CLEAR", "deviceReads", "false", "CLEAR waits for device reads"),
  row("CLEAR", "lease", '"keep"', "CLEAR drops leases"),
  row("MIGRATE", "deviceWrites", "false", "MIGRATE waits for device writes"),
  row("MIGRATE", "lease", '"retire"', "MIGRATE waits until leases are gone"),
  row("PROTECTION_VMA", "deviceWrites", "false", "PROTECTION_VMA waits for device writes"),
  row("PROTECTION_VMA", "deviceReads", "true", "PROTECTION_VMA lets device reads go on (FILTER)"),
  row("PROTECTION_PAGE", "deviceWrites", "false", "PROTECTION_PAGE waits for device writes"),
  row("PROTECTION_PAGE", "deviceReads", "true", "PROTECTION_PAGE lets device reads go on (FILTER)"),
  row("SOFT_DIRTY", "lease", '"keep"', "SOFT_DIRTY drops leases, which leave no trace"),
  row("EXCLUSIVE", "deviceWrites", "false", "EXCLUSIVE waits for device writes"),
  row("EXCLUSIVE", "lease", '"drop"', "EXCLUSIVE keeps leases (FILTER)"),
  row("RELEASE", "afterwards", '"goOn"', "after RELEASE I/O is refused"),
  // Leases.
  {
    name: "no-drop",
    leavesOut: "an invalidation asks leases to go",
    file: GATE,
    from: "leases.drop(lease); dropped = true;",
    to: "dropped = true;",
    shows: "pairs",
  },
  {
    name: "no-wait-for-the-lease",
    leavesOut: "an invalidation waits until a lease is gone",
    file: GATE,
    from: "return (gate & AWAITS_LEASE) === 0 || table.load(chunk, LEASE) <= 0;",
    to: "return true;",
    shows: "pairs",
  },
  {
    name: "no-wait-for-the-tag",
    leavesOut: "a lease is gone only when its tag was seen",
    file: LEASES,
    from: "returned(this.table.words, slot); } /** The tag",
    to: "returned(this.table.words, slot); if (this.table.tagged(slot)) this.#bury(slot, this.table.lastUseMs(slot)); } /** The tag",
    shows: "pairs",
  },
  {
    name: "no-wait-for-the-update",
    leavesOut: "a lease is gone only when the monitor's update has returned too",
    file: LEASE_TABLE,
    from: "if (Atomics.compareExchange(this.words, at, DROPPING, TAGGED) === DROPPING) return false;",
    to: "if (Atomics.compareExchange(this.words, at, DROPPING, GONE) === DROPPING) return true;",
    shows: "late-clock",
  },
  {
    name: "no-claim",
    leavesOut: "only one of two threads drops a lease",
    file: LEASE_TABLE,
    from: "if (!mine) Atomics.sub(words, LEAVING, 1); return mine;",
    to: "if (!mine) Atomics.sub(words, LEAVING, 1); return true;",
    shows: "late-clock",
  },
  {
    name: "no-look-for-tags",
    leavesOut: "an engine without I/O wakes up for a lease on its way",
    file: DISPATCHER,
    from: "this.requests.active > 0 || this.#leases?.uncollected === true",
    to: "this.requests.active > 0",
    shows: "pairs",
  },
  {
    name: "no-populate",
    leavesOut: "pages are populated for writing once they're pinned",
    file: LEASES,
    from: "if (this.#registrations.populate(start, end - start) < 0) return -1;",
    to: "",
    shows: "clean-pages",
  },
  {
    name: "refused-populate-is-ignored",
    leavesOut: "a lease whose pages couldn't be populated isn't used for device writes",
    file: LEASES,
    from: "if (this.#registrations.populate(start, end - start) < 0) return -1;",
    to: "this.#registrations.populate(start, end - start);",
    shows: "refusals",
  },
  {
    name: "clean-lease-is-written-by",
    leavesOut: "a lease that was taken for a device read is populated before a device writes by it",
    file: LEASE_TABLE,
    from: "if (state !== LIVE && (deviceWrite || state !== LIVE_CLEAN)) return false;",
    to: "if (state !== LIVE && state !== LIVE_CLEAN) return false;",
    shows: "clean-pages",
  },
  {
    name: "refused-lease-is-used",
    leavesOut: "a lease that the kernel refuses isn't used",
    file: LEASES,
    from: "this.#refusal(errno, nowMs); return -1;",
    to: "this.#refusal(errno, nowMs);",
    shows: "refusals",
  },
  {
    name: "over-budget",
    leavesOut: "leases fit the budget",
    file: LEASES,
    from: "if (slot >= 0 && this.table.fits(bytes, segments)) return slot;",
    to: "if (slot >= 0) return slot;",
    shows: "budget",
  },
  {
    name: "evicts-what-is-used",
    leavesOut: "room is made only by leases that nobody uses",
    file: LEASES,
    from: "return chunks.inFlight(chunk, DEVICE_WRITES) === 0 && chunks.inFlight(chunk, DEVICE_READS) === 0;",
    to: "return true;",
    shows: "budget",
  },
  {
    name: "no-idle-clock",
    leavesOut: "idle leases go back",
    file: LEASE_TABLE,
    from: "if (idle >= idleMs || residency >= maxMs) each(slot);",
    to: "if (residency >= maxMs) each(slot);",
    shows: "pairs",
  },
  {
    name: "no-second-way",
    leavesOut: "a request whose lease went before its submission goes per-io",
    file: DISPATCHER,
    from: "result === -EFAULT && this.#leases !== null && this.requests.get(slot, LEASE) >= 0",
    to: "false",
    shows: "late-clock",
  },
  {
    name: "protection-is-not-noted",
    leavesOut: "after PROTECTION_VMA the memory is known to be read-only",
    file: GATE,
    from: "for (const protection of invalidation.protections) this.#protect(protection);",
    to: "",
    shows: "pairs",
  },
  {
    name: "lease-on-read-only-memory",
    leavesOut: "read-only memory takes no lease",
    file: GATE,
    from: "return this.readOnly.covers(chunk) ? READ_ONLY : PARTLY_READ_ONLY;",
    to: "return this.readOnly.covers(chunk) ? READ_ONLY : 0;",
    shows: "partly-read-only",
  },
  // Requests.
  {
    name: "sleeps-on-completions",
    leavesOut: "a loop that goes to sleep looks once more for what has ended",
    file: DISPATCHER,
    from: "if (waiting && !this.#scheme.arm()) this.#soon();",
    to: "if (waiting && !this.#scheme.arm()) this.#keepAlive(waiting);",
    shows: "refusals",
  },
  {
    name: "cancelled-goes-on",
    leavesOut: "what was cancelled before it began never begins",
    file: DISPATCHER,
    from: "if (this.#cancelled[slot] === 1) { this.#finishSoon(slot, -ECANCELED); return; }",
    to: "",
    shows: "cancel",
  },
  {
    name: "no-wake-up",
    leavesOut: "what a held request submits is handed to the kernel",
    file: DISPATCHER,
    from: "this.nudge(); this.#submit(slot, this.requests.places[slot], this.requests.get(slot, WRITE) === 1); } #submit",
    to: "this.#submit(slot, this.requests.places[slot], this.requests.get(slot, WRITE) === 1); } #submit",
    shows: "pairs",
  },
  {
    name: "keeps-the-process-alive",
    leavesOut: "an engine with nothing to do lets the process end",
    file: DISPATCHER,
    from: "else this.#keepAlive(waiting);",
    to: "else if (waiting) this.#keepAlive(waiting);",
    shows: "pairs",
  },
  // What the monitor announces.
  {
    name: "no-announcement",
    leavesOut: "what can't be drained is announced",
    file: "core/announcements.js",
    from: "for (let c = first; c <= last; c++) Atomics.add(words, c * CHUNK_WORDS + ANNOUNCED_BEGUN, 1);",
    to: "",
    shows: "discard",
  },
  {
    name: "no-settling",
    leavesOut: "what was announced is over some time",
    file: "core/announcements.js",
    from: "for (let c = first; c <= last; c++) Atomics.add(words, c * CHUNK_WORDS + ANNOUNCED_ENDED, 1);",
    to: "",
    shows: "discard",
  },
  {
    name: "begins-while-unsettled",
    leavesOut: "nothing begins on a chunk while it's unsettled",
    file: GATE,
    from: "if (isReading(this.#reading) || !isSettled(words, at)) {",
    to: "if (false) {",
    shows: "discard",
  },
  {
    name: "spans-what-is-unsettled",
    leavesOut: "nor does what spans several chunks",
    file: GATE,
    from: "settled = settled && isSettled(words, at);",
    to: "",
    shows: "spanning-discard",
  },
  {
    name: "doubtful-is-delivered",
    leavesOut: "a device write that an announcement came under is issued again",
    file: DISPATCHER,
    from: "result >= 0 && this.gate.isDoubtful(slot, place) && this.#mayGoAgain(slot)",
    to: "false",
    shows: "discard",
  },
  {
    name: "device-read-is-issued-again",
    leavesOut: "a device read is never issued again",
    file: DISPATCHER,
    from: "return this.requests.get(slot, WRITE) === 0 && this.requests.position[slot] >= 0;",
    to: "return this.requests.position[slot] >= 0;",
    shows: "discard",
  },
  {
    name: "first-chunk-only",
    leavesOut: "all chunks of a request are looked at for announcements",
    file: GATE,
    from: "for (let at = firstAt + CHUNK_WORDS; at <= lastAt; at += CHUNK_WORDS) announced",
    to: "for (let at = firstAt + CHUNK_WORDS; at < firstAt; at += CHUNK_WORDS) announced",
    shows: "spanning-discard",
  },
  {
    name: "lease-taken-meanwhile-stays",
    leavesOut: "a lease that was taken while its chunk was announced isn't used",
    file: GATE,
    from: "if (Atomics.load(words, at + ANNOUNCED_BEGUN) === announced) return lease;",
    to: "return lease;",
    shows: "discard",
  },
  {
    name: "unsettled-is-forgotten",
    leavesOut: "what waited until it was settled goes then",
    file: DISPATCHER,
    from: "for (const slot of slots) this.#submit(slot, this.requests.places[slot], this.requests.get(slot, WRITE) === 1);",
    to: "",
    shows: "discard",
  },
  {
    name: "no-burial",
    leavesOut: "nothing touches what other code has unmapped",
    file: GATE,
    from: "table.setBits(c, contains(gone, table.rangeOf(c)) ? UNMAPPED : UNMAPPED_PART);",
    to: ";",
    shows: "unmap",
  },
  {
    name: "no-burial-of-parts",
    leavesOut: "nor of a part of a chunk that was unmapped",
    file: GATE,
    from: "if ((gate & UNMAPPED_PART) !== 0 &&",
    to: "if (false &&",
    shows: "unmap-a-part",
  },
  {
    name: "not-covered",
    leavesOut: "a call inside the program's own invalidation makes no invalidation of its own (SELF_EVENT)",
    file: FOREIGN,
    from: 'if (parts.length > 0 && parts.every((part) => this.#isCovered(part))) return "covered";',
    to: "",
    shows: "discard-within",
  },
  {
    name: "given-up-never-ends",
    leavesOut: "a start that was given up while it waited ends when it has begun",
    file: FOREIGN,
    from: "this.#late.push(invalidation); this.#loop.microtask(this.#endLate);",
    to: "",
    shows: "discard-within",
  },
  {
    name: "start-never-ends",
    leavesOut: "a start ends when its caller has left",
    file: FOREIGN,
    from: "for (const invalidation of start.invalidations) this.#endOne(invalidation);",
    to: "",
    shows: "discard",
  },
  {
    name: "reads-without-draining",
    leavesOut: "the monitor reads, and so lets the caller go, only once I/O has ended (odd while reading)",
    file: MONITOR,
    from: "w[S.MONITOR] = WAITING_FOR_DRAIN;",
    to: "w[S.MONITOR] = READING;",
    shows: "discard",
  },
  {
    name: "announces-without-dropping",
    leavesOut: "with an announcement the monitor drops the leases of its chunks",
    file: MONITOR,
    from: "w[S.MONITOR_CHUNK] = this.#chunksOf(call).first; w[S.MONITOR] = CLAIMING;",
    to: "w[S.MONITOR] = READING;",
    shows: "discard",
  },
  {
    name: "settles-at-once",
    leavesOut: "a range is unsettled until the caller has left its call",
    file: MONITOR,
    from: "if (own) this.#over(call);",
    to: "this.#over(call);",
    shows: "discard",
  },
];
