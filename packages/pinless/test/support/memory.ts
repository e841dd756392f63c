/** Every kind of memory that a caller may hand over. */

/** A kind of memory. `make` has to return exactly `bytes` bytes. */
export interface MemoryKind {
  readonly name: string;
  /** Sizes that the kind can have are multiples of this. */
  readonly unit: number;
  make(bytes: number): ArrayBufferView;
}

export const MEMORY_KINDS: readonly MemoryKind[] = [
  { name: "Uint8Array", unit: 1, make: (bytes) => new Uint8Array(bytes) },
  { name: "Buffer", unit: 1, make: (bytes) => Buffer.alloc(bytes) },
  // A slice of Node's pool, if it's small.
  { name: "pooled Buffer", unit: 1, make: (bytes) => Buffer.allocUnsafe(bytes).fill(0) },
  { name: "Buffer subclass", unit: 1, make: (bytes) => Object.setPrototypeOf(Buffer.alloc(bytes), Sub.prototype) },
  { name: "Uint16Array", unit: 2, make: (bytes) => new Uint16Array(bytes / 2) },
  { name: "Float64Array", unit: 8, make: (bytes) => new Float64Array(bytes / 8) },
  { name: "BigInt64Array", unit: 8, make: (bytes) => new BigInt64Array(bytes / 8) },
  { name: "DataView", unit: 1, make: (bytes) => new DataView(new ArrayBuffer(bytes + 3), 3) },
  { name: "shared", unit: 1, make: (bytes) => new Uint8Array(new SharedArrayBuffer(bytes)) },
  { name: "odd part", unit: 1, make: (bytes) => new Uint8Array(new ArrayBuffer(bytes + 5), 1, bytes) },
];

class Sub extends Uint8Array {}
Object.setPrototypeOf(Sub.prototype, Buffer.prototype);

/** The bytes behind any view. */
export function bytesOf(view: ArrayBufferView): Buffer {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}
