/**
 * Part of `node-runtime.ts` that a browser can have: files emit events, and errors show values. Node's streams, Buffers
 * and lines are missing there: calls that need them throw `ERR_PINLESS_UNSUPPORTED`.
 */

import { PinlessError } from "../protocol/errors.js";

type Listener = (...args: unknown[]) => void;

/** The part of Node's EventEmitter that files use. */
export class EventEmitter {
  readonly #listeners = new Map<string, Set<Listener>>();

  on(event: string, listener: Listener): this {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return this;
  }

  once(event: string, listener: Listener): this {
    const first = (...args: unknown[]): void => {
      this.off(event, first);
      listener(...args);
    };
    return this.on(event, first);
  }

  off(event: string, listener: Listener): this {
    this.#listeners.get(event)?.delete(listener);
    return this;
  }

  emit(event: string, ...args: unknown[]): boolean {
    const listeners = [...(this.#listeners.get(event) ?? [])];
    for (const listener of listeners) listener(...args);
    return listeners.length > 0;
  }
}

function missing(what: string): never {
  const message = `${what} needs Node: in a browser, read and write with memory of your own`;
  throw new PinlessError("ERR_PINLESS_UNSUPPORTED", message);
}

export class ReadStream {
  constructor() {
    missing("createReadStream");
  }
}

export class WriteStream {
  constructor() {
    missing("createWriteStream");
  }
}

export const { ReadableStream } = globalThis;

export const Buffer = new Proxy({}, { get: () => missing("a call that makes or reads a Buffer") });

export function createInterface(): never {
  return missing("readLines");
}

export function inspect(value: unknown): string {
  return String(value);
}

/** Behaves as the oldest version of Node that pinless supports. */
export const [NODE_MAJOR, NODE_MINOR] = [20, 19];

export function emitWarning(text: string, type: string): void {
  // biome-ignore lint/suspicious/noConsole: a browser shows warnings nowhere else
  console.warn(`${type}: ${text}`);
}
