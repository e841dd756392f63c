/**
 * Staging memory: aligned memory of the engine that transfers are copied through if the caller's can't be used
 * directly.
 */

/** Size of the pieces that large transfers are split into: measured, registered I/O gains nothing from larger ones. */
export const PIECE_BYTES = 1 << 20;
/** Default capacity of a pipe on Linux. */
export const PIPE_PIECE_BYTES = 64 << 10;

export interface StagingMemory {
  /** Gives out a piece of at most `PIECE_BYTES`, in the order of the calls; `release` it afterwards. */
  acquire(bytes: number): Promise<Uint8Array>;
  release(piece: Uint8Array): Promise<void>;
}
