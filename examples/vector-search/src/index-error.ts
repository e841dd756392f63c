/** Errors of files of vectors and of indexes. */

export type IndexErrorCode =
  | "ERR_INDEX_FORMAT" // another kind of file
  | "ERR_INDEX_VERSION" // an index of another version
  | "ERR_INDEX_CORRUPT" // a checksum, a count or a neighbour that can't be
  | "ERR_INDEX_SIZE" // counts that don't fit the file's size: truncated, or too long
  | "ERR_INDEX_DIMENSION" // vectors of another dimension than asked for
  | "ERR_INDEX_VALUE"; // a vector with NaN or an infinity

/** Error of a file: its message names the file and the place. */
export class IndexError extends Error {
  override readonly name = "IndexError";
  readonly code: IndexErrorCode;
  readonly file: string;

  constructor(code: IndexErrorCode, file: string, what: string) {
    super(`${file}: ${what}`);
    this.code = code;
    this.file = file;
  }
}
