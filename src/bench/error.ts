/** A failure that says in one line what is wrong and what to change; no stack is of use. */
export class BenchError extends Error {
  override readonly name = "BenchError";
}
