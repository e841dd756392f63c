/** Numbers of repetitions: few by `npm test`, where each shows something new; many by `npm run test:all`. */

const EVERYTHING = process.env.PINLESS_TEST_ALL === "1";

/** Returns `many` in a run of all tests, otherwise `few`. */
export function rounds(few: number, many: number): number {
  return EVERYTHING ? many : few;
}
