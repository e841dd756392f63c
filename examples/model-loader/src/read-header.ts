/** Reads the header of a model file, by ordinary reads of its beginning. */

import type { File } from "pinless";
import { parseGguf } from "./gguf.js";
import { ModelError } from "./model-error.js";
import { HEADER_BYTES_MAX, type ModelHeader, MoreNeeded } from "./model-header.js";
import { parseSafetensors } from "./safetensors.js";

const FIRST_BYTES = 64 << 10;

/** Reads and checks a header: first 64 KiB, then more until the header is whole. */
export async function readHeader(file: File, path: string): Promise<ModelHeader> {
  const { size } = await file.stat();
  for (let wanted = FIRST_BYTES; ; ) {
    // Whole blocks go around the page cache.
    const memory = Buffer.alloc(Math.ceil(Math.min(size, wanted) / 4096) * 4096);
    const { bytesRead } = await file.read(memory, { position: 0 });
    const bytes = memory.subarray(0, bytesRead);
    try {
      const parse = bytes.toString("latin1", 0, 4) === "GGUF" ? parseGguf : parseSafetensors;
      return parse({ file: path, bytes, size });
    } catch (error) {
      if (!(error instanceof MoreNeeded)) throw error;
      const { position, end } = error;
      // A file that became shorter has brought less than was asked for.
      if (end > size || bytesRead < Math.min(size, wanted))
        throw new ModelError("ERR_MODEL_TRUNCATED", path, `the header ends at ${end}, the file at ${size}`, position);
      if (end > HEADER_BYTES_MAX)
        throw new ModelError("ERR_MODEL_LIMIT", path, `a header of over ${HEADER_BYTES_MAX} bytes`, position);
      wanted = Math.max(4 * wanted, end);
    }
  }
}
