/** Messages between a HashPool and its threads. */

import type { AlgorithmName } from "./algorithms.js";

/** Name of the standard input. */
export const STDIN = "-";

export interface HashRequest {
  readonly name: string;
  readonly algorithm: AlgorithmName;
}

export type Hashed =
  | {
      readonly hex: string;
      /** True if the file was read through the page cache, because it has no direct I/O. */
      readonly cached: boolean;
    }
  | {
      /** Code of the error, such as "ENOENT". */
      readonly code: string;
      readonly reason: string;
    };
