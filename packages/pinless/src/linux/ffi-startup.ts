/**
 * Threads of ours that are still loading the FFI. Who ends the process then ends them first, and the add-on throws into a thread that is
 * going, which aborts everything. So the end of a process, or of a worker by itself, waits until they have it: some 30 ms, where it has to
 * wait at all.
 */

const LOADING = 0;
const LOADED = 1;
/** Whatever keeps a thread from loading for so long won't be better later. */
const PATIENCE_MS = 5000;

const states = new Set<Int32Array>();

/** For a thread that is about to start: it says `hasLoaded` of this. */
export function willLoad(): Int32Array {
  if (states.size === 0) process.on("exit", waitForAll);
  const state = new Int32Array(new SharedArrayBuffer(4));
  states.add(state);
  return state;
}

export function hasLoaded(state: Int32Array): void {
  Atomics.store(state, 0, LOADED);
  Atomics.notify(state, 0);
}

/** Forgets a thread that has ended. */
export function hasEnded(state: Int32Array): void {
  hasLoaded(state);
  states.delete(state);
  if (states.size === 0) process.off("exit", waitForAll);
}

function waitForAll(): void {
  for (const state of states) Atomics.wait(state, 0, LOADING, PATIENCE_MS);
}
