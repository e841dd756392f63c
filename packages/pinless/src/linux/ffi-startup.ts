/**
 * Threads of ours that are still loading the FFI. If the process ended meanwhile, it would first terminate them, and
 * the add-on would throw into a thread that is being terminated, which aborts the process. So the exit of a process or
 * worker waits for them: at most some 30 ms.
 */

const LOADING = 0;
const LOADED = 1;
/** Maximum time of that wait, in case a thread never loads the FFI. */
const PATIENCE_MS = 5000;

const states = new Set<Int32Array>();

/** Registers a thread that is about to start; the thread calls `hasLoaded` with this word. */
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

/** Removes a thread that has ended. */
export function hasEnded(state: Int32Array): void {
  hasLoaded(state);
  states.delete(state);
  if (states.size === 0) process.off("exit", waitForAll);
}

function waitForAll(): void {
  for (const state of states) Atomics.wait(state, 0, LOADING, PATIENCE_MS);
}
