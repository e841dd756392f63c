// Compares the implementation's view of itself with the reference.
import assert from "node:assert/strict";
import {
  type ChunkTable,
  DEVICE_READS,
  DEVICE_WRITES,
  GATE,
  HELD,
  INVALIDATED,
  LEASE,
} from "../../../dist/protocol/chunk-table.js";
import { HELD_SLOTS, PINNED_PAGES } from "../../../dist/protocol/lease-table.js";
import { chunkOf, type Reference } from "./reference.js";
import type { World } from "./world.js";

export function agree(world: World): void {
  const { reference, notifier, leases, kernel, dispatcher } = world;
  reference.fill();
  assert.equal(dispatcher.requests.active, reference.used, "slots in use: what waits for memory has none");
  assert.ok(
    reference.ready.length === 0 || reference.used === kernel.depth,
    "BOUNDED_HOLD: there's a slot, and a request that waits for one",
  );
  assert.equal(dispatcher.active, reference.requests.size, "requests between acceptance and completion");
  for (const { handle, ref, begun } of world.invalidations.started) {
    const which = `${ref.event} on ${ref.first}–${ref.last}`;
    const invariant = ref.state === "begun" ? "BOUNDED_WAIT" : "EXCLUSION";
    assert.equal(handle?.state, ref.state, `${invariant}: ${which}`);
    if (ref.state === "waiting")
      assert.notEqual(reference.blocked(ref), "", `BOUNDED_WAIT: ${which} should have its turn`);
    for (const lease of reference.revokedBy(ref)) {
      assert.ok(
        world.isLeaving(lease),
        `REVOKED_MEANS_REVOKED: ${which} hasn't dropped the lease of chunk ${lease.chunk}`,
      );
    }
    if (begun !== null) assert.equal(begun, ref.state === "begun" ? 1 : 0, `${which}: calls of ready`);
  }
  assert.equal(notifier.inProgress, reference.invalidations.filter(({ state }) => state !== "waiting").length);
  for (const request of reference.requests.values()) {
    if (request.state === "kernel") assert.ok(request.issues > 0, `BOUNDED_HOLD: request ${request.id} was let go`);
    else if (request.state !== "ended") assert.equal(request.issues, 0, `EXCLUSION: request ${request.id} is held`);
  }
  for (const { id, state, result } of [...reference.requests.values()]) {
    const answered = state !== "ended" || result < 0;
    assert.ok(answered, `EXACTLY_ONCE: request ${id} ended with ${result} and wasn't answered`);
  }
  for (const arena of world.arenas.all) if (arena !== null) agreeOnTable(arena.table, reference);
  if (leases !== null) {
    const held = reference.registrations;
    assert.equal(leases.table.header(HELD_SLOTS), held.length, "count of leases held");
    const pages = held.reduce((sum, { bytes }) => sum + bytes / 4096, 0);
    assert.equal(leases.table.header(PINNED_PAGES), pages, "count of pages pinned");
  }
  if (world.loop.asleep) nothingIsOverlooked(world);
  // While a lease is on its way the process may be kept alive, or not.
  if (!world.loop.asleep || (reference.requests.size === 0 && world.isDropping)) return;
  const waits = reference.invalidations.some(({ state }) => state === "waiting");
  assert.equal(kernel.alive, reference.requests.size > 0 || waits, "what keeps the process alive");
}

/** A sleeping engine has reaped everything but leases that the monitor drops and no caller waits for. */
function nothingIsOverlooked({ kernel, reference }: World): void {
  const { issues, tags } = kernel.unseen;
  assert.equal(issues.length, 0, "EXACTLY_ONCE: the engine sleeps over a completion");
  for (const tag of tags) {
    const awaited = tag.emptied === "engine" || reference.invalidations.some(({ leases }) => leases.has(tag));
    assert.ok(!awaited, `BOUNDED_WAIT: the engine sleeps over the tag of chunk ${tag.chunk}`);
  }
}

function agreeOnTable(table: ChunkTable, reference: Reference): void {
  const first = chunkOf(table.range.start);
  for (let c = 0; c < table.chunks; c++) {
    const number = first + c;
    const here = [...reference.requests.values()].filter((r) => r.first <= number && number <= r.last);
    const inKernel = here.filter(({ state }) => state === "kernel");
    assert.deepEqual(
      {
        invalidated: (table.load(c, GATE) & INVALIDATED) !== 0,
        deviceWrites: table.inFlight(c, DEVICE_WRITES),
        deviceReads: table.inFlight(c, DEVICE_READS),
        held: table.load(c, HELD),
        leased: table.load(c, LEASE) > 0,
      },
      {
        invalidated: reference.turnAt(number) !== undefined,
        deviceWrites: inKernel.filter(({ write }) => !write).length,
        deviceReads: inKernel.filter(({ write }) => write).length,
        held: here.filter((request) => reference.isHeldOn(request, number, number)).length,
        leased: reference.registrations.some((r) => r.chunk === number),
      },
      `chunk ${number}`,
    );
  }
}
