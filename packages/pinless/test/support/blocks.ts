/** Files whose blocks say which block they are: a read that got other bytes, or none, shows. */

export const BLOCK_BYTES = 4096;

/** Content of `count` blocks: every 32-bit word is another, and depends on where it is. */
export function numberedBlocks(count: number): Uint8Array {
  const words = new Uint32Array((count * BLOCK_BYTES) / 4);
  for (let i = 0; i < words.length; i++) words[i] = wordAt(i);
  return new Uint8Array(words.buffer);
}

function wordAt(index: number): number {
  return (Math.imul(index + 1, 0x9e3779b1) ^ 0x5bd1e995) >>> 0;
}

/** The first wrong word of what should be blocks `first`, `first` + 1, …; null if all are right. */
export function wrongBlocks(buffer: Uint8Array, first: number): string | null {
  const words = new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.byteLength / 4);
  const base = (first * BLOCK_BYTES) / 4;
  for (let i = 0; i < words.length; i++) {
    if (words[i] === wordAt(base + i)) continue;
    const got = words[i]!.toString(16);
    return `block ${first} at byte ${i * 4} of ${buffer.byteLength}: 0x${got} for 0x${wordAt(base + i).toString(16)}`;
  }
  return null;
}

/** True if all bytes are `value`. */
export function isFilledWith(bytes: Uint8Array, value: number): boolean {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // The first is right, and each is as the one before it.
  return all.length === 0 || (all[0] === value && all.subarray(1).equals(all.subarray(0, -1)));
}
