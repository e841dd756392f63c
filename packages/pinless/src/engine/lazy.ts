/** A value that is made on first use and kept. A failure isn't kept, because the next attempt may succeed. */

export class Lazy<T> {
  readonly #make: () => Promise<T>;
  #value: Promise<T> | null = null;

  constructor(make: () => Promise<T>) {
    this.#make = make;
  }

  /** Resolves to the value, or rejects if it can't be made now. Calls while it's being made share one attempt. */
  get(): Promise<T> {
    if (this.#value !== null) return this.#value;
    const value = this.#make();
    this.#value = value;
    value.catch(() => this.forget(value));
    return value;
  }

  /** Forgets the value, so that the next call makes a new one; with an argument, only if that is the value kept now. */
  forget(value: Promise<T> | null = this.#value): void {
    if (this.#value === value) this.#value = null;
  }
}
