/** Errors of a model file, and of what a caller asks of one. */

export type ModelErrorCode =
  | "ERR_MODEL_FORMAT" // neither safetensors nor GGUF
  | "ERR_MODEL_VERSION" // a version of GGUF that isn't read here
  | "ERR_MODEL_TRUNCATED" // the file ends before its header or a tensor does
  | "ERR_MODEL_LIMIT" // a size or a count beyond the limits of the format, or of this program
  | "ERR_MODEL_HEADER" // a header that isn't as the format says
  | "ERR_MODEL_DUPLICATE" // a name that is there twice
  | "ERR_MODEL_TYPE" // a type that the format doesn't have
  | "ERR_MODEL_SHAPE" // a shape that doesn't fit the tensor's type or its bytes
  | "ERR_MODEL_OVERLAP" // tensors that overlap
  | "ERR_MODEL_HOLE" // bytes that no tensor has
  | "ERR_MODEL_NAME"; // a name that no tensor has

/** Error of a model file: its message names the file, the tensor and the offset in the file, if they are known. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  readonly code: ModelErrorCode;
  readonly file: string;
  readonly tensor: string | undefined;
  readonly position: number | undefined;

  constructor(code: ModelErrorCode, file: string, what: string, position?: number, tensor?: string) {
    const inTensor = tensor === undefined ? "" : `, tensor ${quoted(tensor)}`;
    const at = position === undefined ? "" : `, byte ${position}`;
    super(`${file}${inTensor}${at}: ${what}`);
    this.code = code;
    this.file = file;
    this.tensor = tensor;
    this.position = position;
  }
}

/** A text from a file as it may be shown: quoted, without characters that change a terminal, and not too long. */
export function quoted(text: string): string {
  const escaped = (c: string): string => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text.slice(0, 100)).replace(/[^ -~\u00a1-\u1fff]/g, escaped);
}
