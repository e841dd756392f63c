/** A close in steps. Every step runs, even if one before it failed; the errors are thrown at the end. */

export class ClosingSteps {
  readonly #failures: unknown[] = [];

  async step(run: () => unknown): Promise<void> {
    try {
      await run();
    } catch (error) {
      this.#failures.push(error);
    }
  }

  /** Runs a step for each item, all at the same time. */
  async each<T>(all: Iterable<T>, run: (one: T) => unknown): Promise<void> {
    await Promise.all([...all].map((one) => this.step(() => run(one))));
  }

  /** Throws the failure, or an AggregateError of several with the code of the first. */
  end(what: string): void {
    if (this.#failures.length === 0) return;
    const [first] = this.#failures as [{ code?: string }];
    if (this.#failures.length === 1) throw first;
    const messages = this.#failures.map((error) => (error as Error).message).join("; ");
    const error = new AggregateError(
      this.#failures,
      `${what} is closed, but closing ${this.#failures.length} of its parts failed: ${messages}`,
    );
    throw Object.assign(error, { code: first.code });
  }
}
