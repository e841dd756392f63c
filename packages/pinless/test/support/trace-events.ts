/** Chrome trace events: the rules of the format, and the events of a file. */

import assert from "node:assert/strict";

export interface TraceEvent {
  readonly ph: string;
  readonly name?: string;
  readonly cat?: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly id?: number;
  readonly s?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** Checks the rules of the format; returns its events. In a file that was `cut` off, slices and flows may be open. */
export function eventsOf(text: string, cut = false): readonly TraceEvent[] {
  const events = JSON.parse(cut ? `${text}]` : text) as readonly TraceEvent[];
  const open = new Map<number, string[]>();
  const lastTs = new Map<number, number>();
  const flows = new Map<number, string>();
  const named = new Set<number>();
  for (const event of events) {
    const { ph, name, pid, tid, ts, id } = event;
    const at = JSON.stringify(event);
    assert.ok(["M", "B", "E", "i", "s", "f"].includes(ph), at);
    assert.ok(Number.isInteger(pid) && Number.isInteger(tid) && ts >= 0, at);
    if (ph !== "E") assert.ok(typeof name === "string" && name !== "", at);
    if (ph === "M" && name === "thread_name") named.add(tid);
    if (ph === "M") continue;
    assert.ok(named.has(tid), `a lane without a name: ${at}`);
    assert.ok(ts >= (lastTs.get(tid) ?? 0), `time goes back: ${at}`);
    lastTs.set(tid, ts);
    const slices = open.get(tid) ?? [];
    open.set(tid, slices);
    if (ph === "B") slices.push(name!);
    if (ph === "E") assert.ok(slices.pop() !== undefined, `nothing ends: ${at}`);
    if (ph === "i") assert.equal(event.s, "t", at);
    if (ph !== "s" && ph !== "f") continue;
    // Viewers bind a flow to the slice that is open on its lane.
    assert.ok(slices.length > 0, `a flow without a slice: ${at}`);
    assert.equal(flows.get(id!), ph === "s" ? undefined : name, at);
    flows.set(id!, ph === "s" ? name! : "has arrived");
  }
  if (cut) return events;
  for (const [tid, slices] of open) assert.deepEqual(slices, [], `lane ${tid} has slices that don't end`);
  for (const [id, flow] of flows) assert.equal(flow, "has arrived", `flow ${id} doesn't arrive`);
  return events;
}
