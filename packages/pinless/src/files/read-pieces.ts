/** Pieces of one read, several under way at a time: what is copied through staging memory waits for the device all the same. */

/** Pieces under way of one read. Staging memory has room for one more, so that no other call waits for this one's end. */
const DEPTH = 3;

/**
 * Bytes read, without a gap from the first. Ends with the first piece that comes back short, or that fails: then, with nothing read by
 * then, it rejects as that one did. When it ends nothing is under way any more.
 */
export async function readPieces(
  bytes: number,
  sizeOf: (done: number) => number,
  read: (done: number, size: number) => Promise<number>,
): Promise<number> {
  const underWay: { readonly size: number; readonly moved: Promise<number> }[] = [];
  let asked = 0;
  let done = 0;
  const ask = (): void => {
    const size = Math.min(bytes - asked, sizeOf(asked));
    const moved = read(asked, size);
    // Somebody looks at it, only later.
    moved.catch(() => {});
    underWay.push({ size, moved });
    asked += size;
  };
  try {
    while (done < bytes) {
      while (asked < bytes && underWay.length < DEPTH) ask();
      const { size, moved } = underWay.shift()!;
      const came = await moved;
      done += came;
      if (came < size) break;
    }
  } catch (error) {
    if (done === 0) throw error;
  } finally {
    await Promise.allSettled(underWay.map(({ moved }) => moved));
  }
  return done;
}
