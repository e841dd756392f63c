/** The content of a scratch file: every block of 4 KiB repeats its own number, so that data that didn't arrive can be told. */

export const BLOCK_BYTES = 4096;
/** The other half of each 8-byte word: "PINL". Old content of memory is unlikely to look like it. */
const MARK = 0x4c4e4950;

/** Fills memory with the blocks of a file from a position on. */
export function writeNumbered(memory: Uint8Array, position: number): void {
  const words = new Uint32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4);
  const wordsPerBlock = BLOCK_BYTES / 4;
  const first = position / BLOCK_BYTES + 1;
  for (let at = 0; at < words.length; at += 2) {
    words[at] = first + Math.floor(at / wordsPerBlock);
    words[at + 1] = MARK;
  }
}

/** Whether the first and the last word are those of the file at a position: enough for a request, and cheap. */
export function isNumbered(words: Uint32Array, position: number): boolean {
  const last = words.length - 2;
  return (
    words[0] === position / BLOCK_BYTES + 1 &&
    words[1] === MARK &&
    words[last] === (position + words.byteLength) / BLOCK_BYTES &&
    words[last + 1] === MARK
  );
}
