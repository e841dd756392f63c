/** Checksum algorithms, each by a native library. */

import { createHash } from "node:crypto";
import { Blake3Hasher } from "@napi-rs/blake-hash";
import { crc32c } from "@node-rs/crc32";
import { xxh3 } from "@node-rs/xxhash";

interface Hasher {
  update(bytes: Uint8Array): void;
  /** The checksum in hexadecimal. */
  digest(): string;
}

export interface Algorithm {
  /** Name in lines that `--tag` writes. */
  readonly tag: string;
  readonly hexDigits: number;
  hasher(): Hasher;
}

export const ALGORITHMS = {
  sha256: { tag: "SHA256", hexDigits: 64, hasher: () => ofHash(createHash("sha256")) },
  blake3: { tag: "BLAKE3", hexDigits: 64, hasher: () => ofHash(new Blake3Hasher()) },
  /** CRC-32C (Castagnoli), as in iSCSI, ext4 and btrfs. */
  crc32c: { tag: "CRC32C", hexDigits: 8, hasher: crc32cHasher },
  /** XXH3 with 64 bits, seed 0. */
  xxh3: { tag: "XXH3", hexDigits: 16, hasher: xxh3Hasher },
} as const satisfies Record<string, Algorithm>;

export type AlgorithmName = keyof typeof ALGORITHMS;

function ofHash(hash: { update(bytes: Buffer): unknown; digest(format: "hex"): string }): Hasher {
  // The type of BLAKE3's update asks for a Buffer.
  const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
    Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
  return { update: (bytes) => void hash.update(bufferOf(bytes)), digest: () => hash.digest("hex") };
}

function crc32cHasher(): Hasher {
  let state = 0;
  return {
    update: (bytes) => {
      state = crc32c(bytes, state);
    },
    digest: () => state.toString(16).padStart(8, "0"),
  };
}

function xxh3Hasher(): Hasher {
  const hash = xxh3.Xxh3.withSeed();
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest().toString(16).padStart(16, "0") };
}
