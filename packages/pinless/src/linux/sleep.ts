const neverWritten = new Int32Array(new SharedArrayBuffer(4));

/** Blocks the calling thread. */
export function sleep(ms: number): void {
  Atomics.wait(neverWritten, 0, 0, ms);
}
