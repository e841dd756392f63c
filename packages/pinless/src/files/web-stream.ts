/**
 * `readableWebStream` as in the running version of Node: up to 22.16 a stream of ArrayBuffers, or a byte stream with
 * `type: "bytes"`; from 22.17 and 24 on always a byte stream.
 */

import type {
  ReadableByteStreamController,
  ReadableStreamDefaultController,
  ReadableStream as WebStream,
} from "node:stream/web";
import { invalidState, invalidType } from "./node-errors.js";
import { emitWarning, NODE_MAJOR, NODE_MINOR, ReadableStream } from "./node-runtime.js";
import type { Streamable } from "./streams.js";

/** Options of {@link File.readableWebStream}. */
export interface WebStreamOptions {
  /** Asks for a byte stream: its readers may bring memory of their own. */
  type?: "bytes" | undefined;
  /**
   * Closes the file at the stream's end. From Node 24 on.
   *
   * @defaultValue false
   */
  autoClose?: boolean | undefined;
}

const CHUNK_BYTES = 64 * 1024;
const ALWAYS_BYTES = NODE_MAJOR >= 24 || (NODE_MAJOR === 22 && NODE_MINOR >= 17);

export function webStream(
  file: Streamable,
  locked: boolean,
  closing: boolean,
  options: WebStreamOptions = {},
): WebStream {
  if (file.fd === -1) throw invalidState("The FileHandle is closed");
  if (closing) throw invalidState("The FileHandle is closing");
  if (locked) throw invalidState("The FileHandle is locked");
  const { bytes, autoClose } = checked(options);
  return new Source(file, autoClose).open(bytes);
}

function checked(options: WebStreamOptions): { bytes: boolean; autoClose: boolean } {
  const { type, autoClose = false } = options;
  if (!ALWAYS_BYTES) {
    if (type !== undefined && typeof type !== "string") throw invalidType("options.type", "of type string", type);
    return { bytes: type === "bytes", autoClose: false };
  }
  if (options === null || typeof options !== "object" || Array.isArray(options))
    throw invalidType("options", "of type object", options);
  if (typeof autoClose !== "boolean") throw invalidType("options.autoClose", "of type boolean", autoClose);
  if (type !== undefined && type !== "bytes") {
    const text = 'A non-"bytes" options.type has no effect. A byte-oriented stream is always created.';
    emitWarning(text, "ExperimentalWarning");
  }
  return { bytes: true, autoClose };
}

/**
 * Underlying source of the stream: reads on demand, and keeps the file open until its end. Closing the file ends it.
 */
class Source {
  readonly #file: Streamable;
  readonly #autoClose: boolean;
  readonly #leaving = new AbortController();
  #ended = false;

  constructor(file: Streamable, autoClose: boolean) {
    this.#file = file;
    this.#autoClose = autoClose;
  }

  open(bytes: boolean): WebStream {
    const cancel = (): Promise<void> => this.#end();
    const stream = bytes
      ? new ReadableStream({
          type: "bytes",
          autoAllocateChunkSize: CHUNK_BYTES,
          start: (controller) => this.#begin(controller),
          pull: (controller) => this.#pullBytes(controller),
          cancel,
        })
      : new ReadableStream(
          { start: (controller) => this.#begin(controller), pull: (controller) => this.#pull(controller), cancel },
          { highWaterMark: 0 },
        );
    this.#file.keep();
    return stream;
  }

  #begin(controller: ReadableByteStreamController | ReadableStreamDefaultController): void {
    this.#closed = () => {
      closeStream(controller);
      void this.#end();
    };
    this.#file.events.once("close", this.#closed);
  }

  #closed = (): void => {};

  async #pull(controller: ReadableStreamDefaultController): Promise<void> {
    const chunk = new Uint8Array(CHUNK_BYTES);
    const bytes = await this.#read(chunk);
    if (this.#ended) return;
    if (bytes > 0) controller.enqueue(bytes === CHUNK_BYTES ? chunk.buffer : chunk.buffer.slice(0, bytes));
    else {
      controller.close();
      await this.#end();
    }
  }

  async #pullBytes(controller: ReadableByteStreamController): Promise<void> {
    const request = controller.byobRequest!;
    const { buffer, byteOffset, byteLength } = request.view!;
    const bytes = await this.#read(new Uint8Array(buffer, byteOffset, byteLength));
    const ended = this.#ended;
    if (bytes === 0 && !ended) {
      closeStream(controller);
      await this.#end();
    }
    // A stream that was closed or cancelled meanwhile no longer takes bytes.
    if (!ended || controller.byobRequest !== null) request.respond(ended ? 0 : bytes);
  }

  async #read(view: Uint8Array): Promise<number> {
    try {
      return await this.#file.read(view, 0, view.byteLength, null, this.#leaving.signal);
    } catch (error) {
      if (this.#ended) return 0;
      void this.#end();
      throw error;
    }
  }

  async #end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#file.events.off("close", this.#closed);
    this.#leaving.abort();
    await this.#file.endAhead();
    this.#file.leave();
    if (this.#autoClose) await this.#file.close();
  }
}

/** Closes a stream. If a reader's view ends in the midst of an element, that becomes the stream's error. */
function closeStream(controller: ReadableByteStreamController | ReadableStreamDefaultController): void {
  try {
    controller.close();
  } catch {
    // Its reader gets the error. The file's `close` isn't to fail with it.
  }
}
