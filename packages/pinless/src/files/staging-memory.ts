/** Aligned memory of the engine's that a transfer is copied through when its own can't be used directly. */

/** Large transfers go in pieces of this: registered I/O gains nothing from more. */
export const PIECE_BYTES = 1 << 20;
/** What a pipe holds, if nobody has asked for more. */
export const PIPE_PIECE_BYTES = 64 << 10;

export interface StagingMemory {
  /** A piece of at most `PIECE_BYTES`, in the order of asking; `release` it. */
  acquire(bytes: number): Promise<Uint8Array>;
  release(piece: Uint8Array): Promise<void>;
}
