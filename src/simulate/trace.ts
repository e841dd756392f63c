/** Everything that happened in a run, as a digest that says whether two runs were the same, and as lines where somebody wants to read. */

const FNV_PRIME = 0x01000193;

export class Trace {
  readonly #steps: ((line: string) => void) | undefined;
  #low = 0x811c9dc5;
  #high = 0x1b873593;

  constructor(steps?: (line: string) => void) {
    this.#steps = steps;
  }

  note(what: string, numbers: readonly number[]): void {
    for (let i = 0; i < what.length; i++) this.#mix(what.charCodeAt(i));
    for (const n of numbers) this.#mix(n | 0);
    this.#steps?.(`${what} ${numbers.join(" ")}`);
  }

  #mix(n: number): void {
    this.#low = Math.imul(this.#low ^ n, FNV_PRIME);
    this.#high = Math.imul(this.#high ^ this.#low ^ (this.#low >>> 15), 0x85ebca6b);
  }

  /** 64 bits in hexadecimal. */
  get digest(): string {
    const hex = (n: number): string => (n >>> 0).toString(16).padStart(8, "0");
    return hex(this.#high) + hex(this.#low);
  }
}
