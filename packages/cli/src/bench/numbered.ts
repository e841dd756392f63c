/** Contents of a scratch file: every 4 KiB block repeats its own number, so that missing data is detected. */

export const BLOCK_BYTES = 4096;
/** Second half of each 8-byte word, "PINL", which old contents of memory are unlikely to have. */
const MARK = 0x4c4e4950;

/** Fills memory with the file's blocks from a position on. */
export function writeNumbered(memory: Uint8Array, position: number): void {
  const words = new Uint32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4);
  const wordsPerBlock = BLOCK_BYTES / 4;
  const first = position / BLOCK_BYTES + 1;
  for (let at = 0; at < words.length; at += 2) {
    words[at] = first + Math.floor(at / wordsPerBlock);
    words[at + 1] = MARK;
  }
}

/** True if the first and last word are the file's at this position: a cheap check that suffices for a request. */
export function isNumbered(words: Uint32Array, position: number): boolean {
  const last = words.length - 2;
  return (
    words[0] === position / BLOCK_BYTES + 1 &&
    words[1] === MARK &&
    words[last] === (position + words.byteLength) / BLOCK_BYTES &&
    words[last + 1] === MARK
  );
}
