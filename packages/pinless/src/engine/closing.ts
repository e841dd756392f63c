/** An end that goes on to the end: each step is done, whatever went wrong in those before it; what went wrong is said afterwards. */

export class Closing {
  readonly #failures: unknown[] = [];

  async step(run: () => unknown): Promise<void> {
    try {
      await run();
    } catch (error) {
      this.#failures.push(error);
    }
  }

  /** All at a time. */
  async each<T>(all: Iterable<T>, run: (one: T) => unknown): Promise<void> {
    await Promise.all([...all].map((one) => this.step(() => run(one))));
  }

  /** Throws what went wrong: the error itself, or an AggregateError of all of them, with the code of the first. */
  end(what: string): void {
    if (this.#failures.length === 0) return;
    const [first] = this.#failures as [{ code?: string }];
    if (this.#failures.length === 1) throw first;
    const messages = this.#failures.map((error) => (error as Error).message).join("; ");
    const error = new AggregateError(
      this.#failures,
      `${what} is closed, but for ${this.#failures.length} parts: ${messages}`,
    );
    throw Object.assign(error, { code: first.code });
  }
}
