/** A value that is made when it's first asked for, and kept. A failure isn't kept: what was missing may be there the next time. */

export class Kept<T> {
  readonly #make: () => Promise<T>;
  #value: Promise<T> | null = null;

  constructor(make: () => Promise<T>) {
    this.#make = make;
  }

  /** The value, or why it can't be made now. All who ask while it's being made get the same. */
  get(): Promise<T> {
    if (this.#value !== null) return this.#value;
    const value = this.#make();
    this.#value = value;
    value.catch(() => this.forget(value));
    return value;
  }

  /** Makes a new one the next time; only if it's this one that is kept, where one is given. */
  forget(value: Promise<T> | null = this.#value): void {
    if (this.#value === value) this.#value = null;
  }
}
