/** Splits one read into pieces, several in flight at a time, so that copying overlaps with the device. */

/**
 * Pieces of one read in flight. Staging memory has room for one more, so that other calls don't have to wait for this
 * one.
 */
const DEPTH = 3;

/**
 * Resolves to the bytes read, counted without a gap from the first. Stops at the first piece that is short or fails,
 * and rejects with its error if nothing was read by then. No piece is in flight when it settles.
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
    // The error is handled later, when the piece's turn comes; this avoids an unhandledRejection until then.
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
