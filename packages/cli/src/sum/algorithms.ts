/** Checksum algorithms, as lists of checksums name them. */

export interface Algorithm {
  /** Name in lines that `--tag` writes. */
  readonly tag: string;
  readonly hexDigits: number;
}

export const ALGORITHMS = {
  sha256: { tag: "SHA256", hexDigits: 64 },
  blake3: { tag: "BLAKE3", hexDigits: 64 },
  /** CRC-32C (Castagnoli), as in iSCSI, ext4 and btrfs. */
  crc32c: { tag: "CRC32C", hexDigits: 8 },
  /** XXH3 with 64 bits, seed 0. */
  xxh3: { tag: "XXH3", hexDigits: 16 },
} as const satisfies Record<string, Algorithm>;

export type AlgorithmName = keyof typeof ALGORITHMS;
