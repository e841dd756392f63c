/** Files as a whole: readFile and writeFile, from the file's own position, as FileHandle's. */

import type { Streamable } from "./streams.js";

/** What `readFile` and `writeFile` take: an encoding, or options. */
export type WholeOptions = BufferEncoding | { encoding?: BufferEncoding | null; signal?: AbortSignal } | null;

export type Data =
  | string
  | Uint8Array
  | ArrayBufferView
  | Iterable<string | ArrayBufferView>
  | AsyncIterable<string | ArrayBufferView>;

/** Node's own step for readFile of a file. */
const STEP_BYTES = 512 * 1024;

/** To the end, wherever that is by then. An abort rejects between two steps, or once a pipe's read has ended. */
export async function readWhole(file: Streamable, sizeBytes: number, options?: WholeOptions): Promise<Buffer | string> {
  const { encoding = null, signal } = typeof options === "string" ? { encoding: options } : (options ?? {});
  const parts: Buffer[] = [];
  let total = 0;
  for (;;) {
    const part = Buffer.allocUnsafeSlow(Math.min(STEP_BYTES, Math.max(4096, sizeBytes - total + 1)));
    try {
      signal?.throwIfAborted();
      const bytesRead = await file.read(part, null, signal);
      if (bytesRead === 0) break;
      total += bytesRead;
      parts.push(part.subarray(0, bytesRead));
    } catch (error) {
      file.giveBack(parts);
      signal?.throwIfAborted();
      throw error;
    }
  }
  const whole = parts.length === 1 ? parts[0]! : Buffer.concat(parts, total);
  return encoding === null ? whole : whole.toString(encoding);
}

export async function writeWhole(file: Streamable, data: Data, options?: WholeOptions): Promise<void> {
  const { encoding = "utf8", signal } = typeof options === "string" ? { encoding: options } : (options ?? {});
  const parts = typeof data === "string" || ArrayBuffer.isView(data) ? [data] : data;
  for await (const part of parts) {
    signal?.throwIfAborted();
    const bytes =
      typeof part === "string"
        ? Buffer.from(part, encoding ?? "utf8")
        : new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    try {
      await file.write(bytes, null, signal);
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  }
}
