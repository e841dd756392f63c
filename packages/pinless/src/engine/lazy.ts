/** A value that is made on first use and kept. A failure isn't kept: what was missing may be there the next time. */

export class Lazy<T> {
  readonly #make: () => Promise<T>;
  #value: Promise<T> | null = null;

  constructor(make: () => Promise<T>) {
    this.#make = make;
  }

  /** Resolves to the value, or rejects with why it can't be made now. Calls while it's being made get the same. */
  get(): Promise<T> {
    if (this.#value !== null) return this.#value;
    const value = this.#make();
    this.#value = value;
    value.catch(() => this.forget(value));
    return value;
  }

  /** Has the next call make a new value. With an argument: only if that is the one that is kept. */
  forget(value: Promise<T> | null = this.#value): void {
    if (this.#value === value) this.#value = null;
  }
}
