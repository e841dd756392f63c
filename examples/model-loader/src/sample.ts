/** A sample: a safetensors file like that of a small language model, whose bytes depend on its size alone. */

import { createCipheriv } from "node:crypto";
import { rename, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import type { Engine } from "pinless";

/** Writes a sample of `mib` MiB or a little more, under another name until it is whole. */
export async function writeSample(engine: Engine, path: string, mib: number, signal?: AbortSignal): Promise<void> {
  const unfinished = `${path}.${process.pid}.unfinished`;
  try {
    const file = await engine.openFile(unfinished, "wx");
    await pipeline(sample(mib), file.createWriteStream({ flush: true }), signal === undefined ? {} : { signal });
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

function* sample(mib: number): Generator<Uint8Array> {
  const width = mib >= 256 ? 1024 : 256;
  const header: Record<string, object> = { __metadata__: { format: "pt", source: "sample" } };
  let end = 0;
  const add = (name: string, dtype: "F32" | "BF16", shape: number[]): void => {
    const begin = end;
    end += shape.reduce((product, each) => product * each, dtype === "F32" ? 4 : 2);
    header[name] = { dtype, shape, data_offsets: [begin, end] };
  };
  add("embedding.weight", "BF16", [4000, width]);
  for (let layer = 0; end < mib * 2 ** 20; layer++) {
    add(`layers.${layer}.norm.weight`, "F32", [width]);
    for (const name of ["q", "k", "v", "o"]) add(`layers.${layer}.attention.${name}.weight`, "BF16", [width, width]);
    for (const name of ["gate", "up", "down"]) add(`layers.${layer}.mlp.${name}.weight`, "BF16", [4 * width, width]);
  }
  const json = JSON.stringify(header);
  const length = Math.ceil(json.length / 8) * 8;
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(length));
  yield Buffer.concat([size, Buffer.from(json.padEnd(length))]);
  // Encrypted zeros are pseudorandom bytes.
  const zeros = Buffer.alloc(2 ** 20);
  const cipher = createCipheriv("aes-128-ctr", zeros.subarray(0, 16), zeros.subarray(0, 16));
  for (let left = end; left > 0; left -= zeros.byteLength) yield cipher.update(zeros.subarray(0, left));
}
