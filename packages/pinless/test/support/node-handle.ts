/** FileHandles of Node's that a test opened to compare with. */

// biome-ignore lint/suspicious/noExplicitAny: a handle after wrong calls
type Handle = any;

/**
 * Kept for ever: after a stream was refused, half of it holds its FileHandle, whose close() fails or never ends. One
 * that is collected as garbage without having been closed is an error from Node 25 on.
 */
const unclosed: Handle[] = [];

/** Closes it, if that can be done within a turn of the loop. */
export async function closeNodeHandle(handle: Handle): Promise<void> {
  const turn = new Promise((resolve) => setImmediate(resolve));
  await Promise.race([Promise.resolve().then(() => handle.close()), turn]).catch(() => {});
  if (handle.fd >= 0) unclosed.push(handle);
}
