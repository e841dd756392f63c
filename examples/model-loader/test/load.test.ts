/** Loads: what was written is there, aligned; progress, abort, and files that change meanwhile. */

import assert from "node:assert/strict";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Engine } from "pinless";
import { GGUF_TYPES, SAFETENSORS_TYPES } from "../src/element-types.js";
import type { MetadataArray } from "../src/gguf.js";
import { type LoadedTensor, type LoadProgress, loadModel } from "../src/load-model.js";
import { writeSample } from "../src/sample.js";
import {
  folderFor,
  gguf,
  ggufOf,
  pair,
  randomBytes,
  randomOf,
  safetensors,
  safetensorsOf,
  type TestTensor,
  text,
  u32,
  u64,
  written,
} from "./model-files.js";

let engine: Engine;
before(async () => {
  engine = await Engine.open();
});
after(() => engine.close());

const bytesIn = ({ data }: LoadedTensor) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

/** Tensors of every type: empty ones, small ones, and large ones that end anywhere. */
function tensorsOf(types: Iterable<[number | string, { name: string; blockBytes: number; blockElements: number }]>) {
  const random = randomOf(7);
  const tensors: TestTensor[] = [];
  for (const [number, { name: type, blockBytes, blockElements }] of types)
    for (const most of [0, 40, 5000, 1 << 20, 3 << 20]) {
      if (most > 5000 && tensors.length % 7 > 1) continue;
      const blocks = most === 0 ? 0 : 1 + random(Math.floor(most / blockBytes));
      const bytes = randomBytes(blocks * blockBytes, random);
      const shape = [blocks * blockElements, 1, 1];
      tensors.push({ name: `${type} ${tensors.length}`, type, number: Number(number), shape, bytes });
    }
  return tensors;
}

async function isLoaded(path: string, tensors: readonly TestTensor[], names?: string[]): Promise<void> {
  await using model = await loadModel(engine, path, { names });
  const expected = tensors.filter(({ name }) => names === undefined || names.includes(name));
  assert.deepEqual(
    [...model.tensors.keys()],
    expected.map(({ name }) => name),
  );
  for (const { name, shape, type, bytes } of expected) {
    const tensor = model.tensors.get(name)!;
    assert.deepEqual([tensor.shape, tensor.type.name], [shape, type]);
    assert.equal(tensor.data.byteOffset % 64, 0, name);
    assert.equal(Buffer.compare(bytesIn(tensor), bytes), 0, name);
  }
}

test("what is loaded from safetensors is what was written, of every type", async (t) => {
  const tensors = tensorsOf(SAFETENSORS_TYPES);
  const path = written(t, "model.safetensors", safetensorsOf(tensors));
  await isLoaded(path, tensors);
  const names = tensors.filter((_, i) => i % 5 === 2).map(({ name }) => name);
  await isLoaded(path, tensors, names);
  await isLoaded(path, tensors, []);
});

for (const [version, alignment] of [
  [2, 32],
  [3, 8],
  [3, 4096],
] as const)
  test(`what is loaded from GGUF is what was written: version ${version}, aligned to ${alignment}`, async (t) => {
    const tensors = tensorsOf(GGUF_TYPES);
    const path = written(t, "model.gguf", ggufOf(tensors, alignment, version));
    await isLoaded(path, tensors);
    await isLoaded(path, tensors, [tensors[3]!.name, tensors[1]!.name]);
  });

test("elements are typed arrays; F16 and BF16 are Uint16Array, quantised types bytes", async (t) => {
  const f32 = new Float32Array([1, -2, Number.NaN, Number.POSITIVE_INFINITY]);
  const i64 = new BigInt64Array([-1n]);
  const tensors: TestTensor[] = [
    { name: "f", type: "F32", shape: [4], bytes: new Uint8Array(f32.buffer) },
    { name: "i", type: "I64", shape: [1], bytes: new Uint8Array(i64.buffer) },
    { name: "h", type: "F16", shape: [1], bytes: Buffer.from([0, 0x3c]) },
    { name: "scalar", type: "BF16", shape: [], bytes: Buffer.from([0x80, 0x3f]) },
  ];
  await using model = await loadModel(engine, written(t, "m", safetensorsOf(tensors)));
  const data = (name: string) => model.tensors.get(name)!.data;
  assert.deepEqual([data("f"), data("i")], [f32, i64]);
  assert.deepEqual([data("h"), data("scalar")], [new Uint16Array([0x3c00]), new Uint16Array([0x3f80])]);
  const q8: TestTensor = { name: "q", type: "Q8_0", number: 8, shape: [64], bytes: Buffer.alloc(68, 3) };
  await using quantised = await loadModel(engine, written(t, "q", ggufOf([q8], 32)));
  const q = quantised.tensors.get("q")!;
  assert.deepEqual([q.data, q.type.blockElements, q.type.blockBytes], [new Uint8Array(68).fill(3), 32, 34]);
});

test("metadata is there: NaN, large whole numbers and arrays too", async (t) => {
  const nan = Buffer.alloc(4);
  nan.writeFloatLE(Number.NaN);
  const pairs = [
    pair("f", 6, nan),
    pair("big", 10, u64(2n ** 64n - 1n)),
    pair("small", 11, u64(12)),
    pair("yes", 7, Buffer.from([1])),
    pair("words", 9, Buffer.concat([u32(8), u64(2), text("α"), text("")])),
    pair("numbers", 9, Buffer.concat([u32(4), u64(2), u32(1), u32(2)])),
  ];
  await using model = await loadModel(engine, written(t, "m", gguf({ pairs })));
  const { metadata } = model;
  assert.deepEqual(
    ["f", "big", "small", "yes"].map((key) => metadata.get(key)),
    [Number.NaN, 2n ** 64n - 1n, 12, true],
  );
  const arrays = ["words", "numbers"].map((key) => (metadata.get(key) as MetadataArray).toArray());
  assert.deepEqual(arrays, [
    ["α", ""],
    [1, 2],
  ]);
  await using other = await loadModel(engine, written(t, "s", safetensors({ __metadata__: { format: "pt" } })));
  assert.deepEqual([...other.metadata], [["format", "pt"]]);
});

test("a header of more than the first read is read", async (t) => {
  const tensors = Array.from({ length: 3000 }, (_, i): TestTensor => {
    return { name: `tensor ${i}`, type: "U8", number: 24, shape: [3], bytes: Buffer.from([i, i >> 8, 7]) };
  });
  await isLoaded(written(t, "m", safetensorsOf(tensors)), tensors);
  const signed = tensors.map((tensor) => ({ ...tensor, type: "I8" }));
  await isLoaded(written(t, "m", ggufOf(signed, 32)), signed);
});

test("progress counts every byte once, and names each tensor when it's there", async (t) => {
  const tensors = tensorsOf(SAFETENSORS_TYPES);
  const path = written(t, "m", safetensorsOf(tensors));
  const total = tensors.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  const seen: string[] = [];
  let last: LoadProgress | null = null;
  const onProgress = (progress: LoadProgress): void => {
    assert.ok(progress.bytes >= (last?.bytes ?? 0));
    last = progress;
    if (progress.tensor === null) return;
    seen.push(progress.tensor.name);
    const written = tensors.find(({ name }) => name === progress.tensor!.name)!;
    assert.equal(Buffer.compare(bytesIn(progress.tensor), written.bytes), 0);
  };
  await using _model = await loadModel(engine, path, { onProgress });
  assert.deepEqual(seen.sort(), tensors.map(({ name }) => name).sort());
  assert.equal(last!.bytes, total);
  assert.equal(last!.totalBytes, total);
});

test("an aborted load rejects with the reason; so does one whose progress callback throws", async (t) => {
  const path = join(folderFor(t), "m");
  await writeSample(engine, path, 80);
  const reason = new Error("enough");
  await assert.rejects(loadModel(engine, path, { signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const onProgress = ({ bytes }: LoadProgress) => bytes > 20e6 && controller.abort(reason);
  await assert.rejects(loadModel(engine, path, { signal: controller.signal, onProgress }), reason);
  const thrower = () => {
    throw reason;
  };
  await assert.rejects(loadModel(engine, path, { onProgress: thrower }), reason);
  await using model = await loadModel(engine, path);
  assert.ok(model.tensors.size > 200);
});

test("a model is loaded into an arena that is there, which has its room again afterwards", async (t) => {
  const tensors = tensorsOf(SAFETENSORS_TYPES);
  const path = written(t, "m", safetensorsOf(tensors));
  const arena = await engine.arena({ bytes: 2 << 20 });
  let grown = 0;
  for (let i = 0; i < 3; i++) {
    await using model = await loadModel(engine, path, { arena });
    for (const { name, bytes } of tensors) assert.equal(Buffer.compare(bytesIn(model.tensors.get(name)!), bytes), 0);
    if (i === 0) grown = arena.bytes;
  }
  assert.equal(arena.bytes, grown);
  const failing = loadModel(engine, path, { arena, signal: AbortSignal.abort(new Error("enough")) });
  await assert.rejects(failing, /enough/);
  await arena.close();
});

test("a name that the model hasn't is refused, before anything is read", async (t) => {
  const path = written(t, "m", safetensors({}));
  const refused = { code: "ERR_MODEL_NAME", tensor: "x" };
  await assert.rejects(loadModel(engine, path, { names: ["x"] }), refused);
});

test("a file that becomes shorter while it's loaded is refused", async (t) => {
  const path = join(folderFor(t), "m");
  await writeSample(engine, path, 64);
  let shortened = false;
  const onProgress = (): void => {
    if (!shortened) truncateSync(path, 30 << 20);
    shortened = true;
  };
  await assert.rejects(loadModel(engine, path, { onProgress }), { code: "ERR_MODEL_TRUNCATED" });
});

test("a sample is the same each time, and a write that fails leaves nothing", async (t) => {
  const folder = folderFor(t);
  const [first, second] = [join(folder, "a"), join(folder, "b")];
  await writeSample(engine, first, 3);
  await writeSample(engine, second, 3);
  assert.equal(Buffer.compare(readFileSync(first), readFileSync(second)), 0);
  writeFileSync(first, "kept");
  await assert.rejects(writeSample(engine, first, 64, AbortSignal.abort()), { name: "AbortError" });
  assert.equal(readFileSync(first, "utf8"), "kept");
  await assert.rejects(writeSample(engine, join(folder, "none", "a"), 3), { code: "ENOENT" });
});
