/**
 * What somebody handed to `pinless-lab simulate` can't be meant: said in one line, with the file's where there is one;
 * no stack is of use.
 */
export class InputError extends Error {
  override readonly name = "InputError";
  readonly code = "ERR_SIMULATE_INPUT";
}
