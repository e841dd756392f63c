/** Errors that are answers: a status, a sentence for the client, and headers. */

import { STATUS_CODES } from "node:http";

export class HttpError extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string | number>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }

  get body(): string {
    return `${this.status} ${STATUS_CODES[this.status]}: ${this.message}\n`;
  }
}

/** The answer to an error of the filesystem. */
export function asHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  const { code = "" } = error as NodeJS.ErrnoException;
  if (["ENOENT", "ENOTDIR", "ENAMETOOLONG", "ELOOP"].includes(code)) return new HttpError(404, "there is no such file");
  if (["EACCES", "EPERM"].includes(code)) return new HttpError(403, "the server may not read that file");
  if (["EMFILE", "ENFILE", "ENOMEM"].includes(code))
    return new HttpError(503, "the server has no room for more files just now", { "Retry-After": 1 });
  return new HttpError(500, "the file can't be read");
}
