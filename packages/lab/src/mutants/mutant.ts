/**
 * Protective steps of the engine, each of which can be left out of a copy of it: as text of the built modules that is replaced by other text.
 * Files of `protocol` are what ships. `check/monitor-copy.js` stands for `protocol/monitor/program.ts`, whose steps it takes.
 */

export interface Mutant {
  readonly name: string;
  readonly leavesOut: string;
  /** Where it is, of what was built; the text, which is there just once (spaces don't count); and what it's replaced by. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** A second place of the same file. */
  readonly also?: { readonly from: string; readonly to: string };
  /** The scenario that shows it. */
  readonly shows: string;
}

export const GATE = "protocol/gate.js";
export const DISPATCHER = "protocol/dispatcher.js";
export const LEASES = "protocol/leases.js";
const EVENTS = "protocol/events.js";

/** A row of the table of events with one entry changed. */
export function row(event: string, entry: string, to: string, leavesOut: string, shows = "pairs"): Mutant {
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
  const where = shows === "pairs" ? "" : "notifier-";
  const name = `${where}row-${event}-${entry}`.toLowerCase().replaceAll("_", "-");
  return { name, leavesOut, file: EVENTS, from: `${event}: ${from}`, to: `${event}: ${changed}`, shows };
}
