/** Loads a model's tensors into an arena, around the page cache. */

import { stat } from "node:fs/promises";
import type { Arena, Engine, File, PinlessError } from "pinless";
import type { TensorData } from "./element-types.js";
import { type Piece, type Place, planLoad, SIMD_BYTES } from "./load-plan.js";
import { ModelError } from "./model-error.js";
import type { ModelHeader, TensorInfo } from "./model-header.js";
import { readHeader } from "./read-header.js";

export interface LoadedTensor extends TensorInfo {
  /** Elements, or bytes of quantised blocks, on the arena's memory: aligned to 64 bytes. */
  readonly data: TensorData;
}

export interface LoadProgress {
  /** Bytes of tensors loaded so far, and in all. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** A tensor that is complete now, or null. */
  readonly tensor: LoadedTensor | null;
}

export interface LoadOptions {
  /** Names of the tensors to load. Default: all. */
  readonly names?: readonly string[] | undefined;
  /** Memory to load into; it grows if it has too little room. Default: an arena of the model's own. */
  readonly arena?: Arena | undefined;
  /** Ends the load: it rejects with the signal's reason, once the kernel has let go of all memory. */
  readonly signal?: AbortSignal | undefined;
  /** Called as bytes arrive. An error that it throws ends the load. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

export interface LoadedModel extends Omit<ModelHeader, "tensors">, AsyncDisposable {
  /** Tensors by name, in the file's order. */
  readonly tensors: ReadonlyMap<string, LoadedTensor>;
  /** Frees the memory. The tensors' arrays read as zeros afterwards. */
  close(): Promise<void>;
}

/** Bytes of a read, and reads in flight: enough to keep an NVMe disk busy. */
export const BLOCK_BYTES = 1 << 20;
export const DEPTH = 16;

/** Opens a model file, and reads its header. */
export async function openModel(engine: Engine, path: string): Promise<{ file: File; header: ModelHeader }> {
  // To open a pipe would wait for its writer.
  if (!(await stat(path)).isFile()) throw new ModelError("ERR_MODEL_FORMAT", path, "it isn't a regular file");
  const file = await engine.openFile(path, "r");
  try {
    return { file, header: await readHeader(file, path) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Loads a safetensors or GGUF file, or those of its tensors that are named. Checks the whole header before it makes any
 * memory for them.
 *
 * @throws ModelError for a file that isn't as its format says; errors of node:fs; ENOMEM if there is no room
 */
export async function loadModel(engine: Engine, path: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const { file, header } = await openModel(engine, path);
  try {
    const tensors = chosen(path, header.tensors, options.names);
    const load = new Load(engine, file, path, planLoad(path, tensors, file.alignment.offset), options);
    await load.run();
    const close = () => load.close();
    return { ...header, tensors: load.tensors, close, [Symbol.asyncDispose]: close };
  } finally {
    await file.close();
  }
}

function chosen(path: string, tensors: readonly TensorInfo[], names?: readonly string[]): readonly TensorInfo[] {
  if (names === undefined) return tensors;
  const wanted = new Set(names);
  const found = tensors.filter(({ name }) => wanted.delete(name));
  const [missing] = wanted;
  if (missing !== undefined) throw new ModelError("ERR_MODEL_NAME", path, "the model has none", undefined, missing);
  return found;
}

async function allocate(arena: Arena, bytes: number): Promise<Uint8Array> {
  try {
    return arena.alloc(bytes);
  } catch (error) {
    if ((error as PinlessError).code !== "ERR_PINLESS_ARENA_FULL") throw error;
    await arena.grow(bytes);
    return arena.alloc(bytes);
  }
}

class Load {
  readonly tensors = new Map<string, LoadedTensor>();
  readonly #engine: Engine;
  readonly #file: File;
  readonly #path: string;
  readonly #pieces: readonly Piece[];
  readonly #options: LoadOptions;
  readonly #totalBytes: number;
  readonly #memories: Uint8Array[] = [];
  #arena: Arena | null;
  #bytes = 0;

  constructor(engine: Engine, file: File, path: string, pieces: readonly Piece[], options: LoadOptions) {
    this.#engine = engine;
    this.#file = file;
    this.#path = path;
    this.#pieces = pieces;
    this.#options = options;
    this.#arena = options.arena ?? null;
    this.#totalBytes = pieces.flatMap(({ places }) => places).reduce((sum, { tensor }) => sum + tensor.bytes, 0);
  }

  async run(): Promise<void> {
    const reads = this.#reads();
    const reader = async (): Promise<void> => {
      for await (const read of reads) await read();
    };
    // The first that fails ends the iteration; the others end with their reads in flight.
    const ends = await Promise.allSettled(Array.from({ length: DEPTH }, reader));
    const { signal } = this.#options;
    const failed = ends.find((end) => end.status === "rejected");
    if (failed === undefined && !signal?.aborted) return;
    await this.close();
    throw signal?.aborted ? signal.reason : failed?.reason;
  }

  async close(): Promise<void> {
    if (this.#options.arena === undefined) await this.#arena?.close();
    else for (const memory of this.#memories.splice(0)) await this.#options.arena.free(memory);
  }

  /** Reads to be made, in the file's order. */
  async *#reads(): AsyncGenerator<() => Promise<void>> {
    const { signal } = this.#options;
    let making = this.#make(this.#pieces[0]);
    for (const [i, piece] of this.#pieces.entries()) {
      const memory = await making;
      making = this.#make(this.#pieces[i + 1]);
      // Its error is met when the piece's turn comes, if it comes.
      making.catch(() => {});
      const tensors = piece.places.map(({ tensor, offset }) => this.#add(tensor, memory!, offset));
      yield () => this.#readSmall(piece, tensors, memory!);
      for (const [number, place] of piece.places.entries())
        for (const read of this.#readsOf(place, tensors[number]!, memory!)) {
          signal?.throwIfAborted();
          yield read;
        }
    }
  }

  /** Makes the memory of a piece. */
  async #make(piece: Piece | undefined): Promise<Uint8Array | null> {
    if (piece === undefined) return null;
    const bytes = Math.max(1, piece.bytes);
    this.#arena ??= await this.#engine.arena({ bytes });
    const memory = await allocate(this.#arena, bytes);
    this.#memories.push(memory);
    return memory;
  }

  #add(tensor: TensorInfo, memory: Uint8Array, offset: number): LoadedTensor {
    const { array } = tensor.type;
    const length = tensor.bytes / array.BYTES_PER_ELEMENT;
    const loaded = { ...tensor, data: new array(memory.buffer as ArrayBuffer, memory.byteOffset + offset, length) };
    this.tensors.set(tensor.name, loaded);
    return loaded;
  }

  /** Reads a piece's small tensors: neighbours together, and then each is copied to its place. */
  async #readSmall({ places }: Piece, tensors: readonly LoadedTensor[], memory: Uint8Array): Promise<void> {
    const small = tensors.filter((_, i) => places[i]!.lead === null);
    const ranges = small.map(({ position, bytes: length }) => ({ position, length }));
    let next = 0;
    for await (const bytes of this.#file.readMany(ranges, { signal: this.#options.signal })) {
      const tensor = small[next++]!;
      if (bytes.byteLength < tensor.bytes) throw this.#truncated(tensor);
      memory.set(bytes, tensor.data.byteOffset - memory.byteOffset);
      this.#came(tensor.bytes, tensor);
    }
  }

  /** Reads of a tensor, if it's a large one. */
  *#readsOf({ offset, lead }: Place, tensor: LoadedTensor, memory: Uint8Array): Generator<() => Promise<void>> {
    if (lead === null) return;
    const before = lead;
    const shift = before % SIMD_BYTES;
    const region = memory.subarray(offset + shift - before, memory.byteLength);
    const end = before + tensor.bytes;
    const { offset: align } = this.#file.alignment;
    const arrived: boolean[] = [];
    let there = 0;
    for (let at = 0, index = 0; at < end; at += BLOCK_BYTES, index++) {
      const block = region.subarray(at, Math.min(at + BLOCK_BYTES, Math.ceil(end / align) * align));
      const current = index;
      yield async () => {
        const { bytesRead } = await this.#file.read(block, { position: tensor.position - before + at });
        if (bytesRead < Math.min(block.byteLength, end - at)) throw this.#truncated(tensor);
        arrived[current] = true;
        // Bytes move to their aligned place in the file's order, since those of a block end in the one before it.
        const from = Math.max(before, there * BLOCK_BYTES);
        while (arrived[there] === true) there++;
        const to = Math.min(end, there * BLOCK_BYTES);
        if (to <= from) return;
        if (shift > 0) region.copyWithin(from - shift, from, to);
        this.#came(to - from, to === end ? tensor : null);
      };
    }
  }

  #came(bytes: number, tensor: LoadedTensor | null): void {
    this.#bytes += bytes;
    this.#options.onProgress?.({ bytes: this.#bytes, totalBytes: this.#totalBytes, tensor });
  }

  #truncated({ name, position, bytes }: TensorInfo): ModelError {
    const what = `the file ended within its ${bytes} bytes: it has become shorter`;
    return new ModelError("ERR_MODEL_TRUNCATED", this.#path, what, position, name);
  }
}
