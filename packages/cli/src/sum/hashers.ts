/** Hashers by native libraries, each loaded by the first use: where add-ons are forbidden, all other commands go on. */

import type { AlgorithmName } from "./algorithms.js";

interface Hasher {
  update(bytes: Uint8Array): void;
  /** The checksum in hexadecimal. */
  digest(): string;
}

type NewHasher = () => Hasher;

const LOAD: Readonly<Record<AlgorithmName, () => Promise<NewHasher>>> = {
  sha256: async () => {
    const { createHash } = await import("node:crypto");
    return () => ofHash(createHash("sha256"));
  },
  blake3: async () => {
    const { Blake3Hasher } = await import("@napi-rs/blake-hash");
    return () => ofHash(new Blake3Hasher());
  },
  crc32c: async () => {
    const { crc32c } = await import("@node-rs/crc32");
    return () => {
      let state = 0;
      return {
        update: (bytes) => {
          state = crc32c(bytes, state);
        },
        digest: () => state.toString(16).padStart(8, "0"),
      };
    };
  },
  xxh3: async () => {
    const { xxh3 } = await import("@node-rs/xxhash");
    return () => {
      const hash = xxh3.Xxh3.withSeed();
      return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest().toString(16).padStart(16, "0") };
    };
  },
};

/** Resolves to a hasher for one file. */
export async function hasherOf(name: AlgorithmName): Promise<Hasher> {
  return (await LOAD[name]())();
}

function ofHash(hash: { update(bytes: Buffer): unknown; digest(format: "hex"): string }): Hasher {
  // The type of BLAKE3's update asks for a Buffer.
  const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
    Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
  return { update: (bytes) => void hash.update(bufferOf(bytes)), digest: () => hash.digest("hex") };
}
