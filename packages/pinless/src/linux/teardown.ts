/** Hooks that run when a thread's environment is torn down, when no JavaScript runs any more. */

import { addressOf, bound } from "./libc-bindings.js";

/**
 * Closes `fd` when this thread's environment is torn down. `worker.terminate()` runs no JavaScript, and a ring that
 * stayed open would keep its pins for ever. Returns a function that cancels this, for a caller that closes `fd`
 * earlier.
 */
export function closeAtTeardown(fd: number): () => void {
  const c = bound();
  const env = (c.koffi as unknown as { node: { env: bigint } }).node.env;
  c.addHook(env, c.closeSymbol, fd);
  return () => {
    c.removeHook(env, c.closeSymbol, fd);
  };
}

/** Size of sem_t, in glibc and musl alike. */
export const SEMAPHORE_BYTES = 32;

/**
 * Increments the first word of `memory`, of `SEMAPHORE_BYTES`, when this thread's environment is torn down; hooks run
 * last in, first out. No JavaScript runs then, so this needs a C function of one argument that changes memory:
 * sem_post, to which the memory is a semaphore without waiters, with its count in the first word. Returns a function
 * that cancels this.
 */
export function raiseAtTeardown(memory: SharedArrayBuffer): () => void {
  const c = bound();
  const env = (c.koffi as unknown as { node: { env: bigint } }).node.env;
  const address = addressOf(memory);
  c.addHook(env, c.postSymbol, address);
  return () => {
    c.removeHook(env, c.postSymbol, address);
  };
}
