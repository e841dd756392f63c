/** Errors in the inputs of the lab's commands: scenarios, plans, reports, and values on the command line. */

/** An input, its value, and a lookup from a path of names to a line number (from 1 on), or null. */
export interface InputSource {
  readonly name: string;
  readonly value: unknown;
  lineOf(path: readonly string[]): number | null;
}

/**
 * An input that a command can't use. The message is one line for the user, who has no use for a stack: the file and
 * line if there are any, the value that is wrong, and what is right instead.
 */
export class InputError extends Error {
  override readonly name = "InputError";
  readonly code = "ERR_LAB_INPUT";

  constructor(message: string, file: string | null = null, line: number | null = null) {
    super(`${file === null ? "" : line === null ? `${file}: ` : `${file}:${line}: `}${message}`);
  }
}

/** Makes an error at a path of a source. If there is nothing at the path, it names the line of what contains it. */
export function inputErrorAt(source: InputSource, path: readonly string[], message: string): InputError {
  for (let length = path.length; length >= 0; length--) {
    const line = source.lineOf(path.slice(0, length));
    if (line !== null) return new InputError(message, source.name, line);
  }
  return new InputError(message, source.name);
}

/** Renders a wrong value for a message, in at most 60 characters. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
