/** System calls that are forbidden. */

/** A system call by its number; with arguments, only where these have these values. */
export interface Refusal {
  readonly call: number;
  readonly arguments?: Readonly<Record<number, number>>;
}

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, k: number];

const load = (offset: number): Instruction => [0x20, 0, 0, offset];
/** Goes on if it's equal, else leaves `skip` out. */
const unless = (value: number, skip: number): Instruction => [0x15, 0, skip, value];
const answer = (action: number): Instruction => [0x06, 0, 0, action];

function refusal({ call, arguments: values = {} }: Refusal, errno: number): Instruction[] {
  const conditions = [
    [0, call] as const,
    ...Object.entries(values).map(([i, value]) => [16 + 8 * Number(i), value] as const),
  ];
  const tests = conditions.flatMap(([offset, value], i) => [
    load(offset),
    unless(value, 2 * (conditions.length - i) - 1),
  ]);
  return [...tests, answer(0x50000 | errno)];
}

/**
 * Source for a child: these system calls fail in its thread, and in those that it starts, as by a container's filter.
 */
export function refusing(errno: number, ...calls: readonly (number | Refusal)[]): string {
  const filter = [
    ...calls.flatMap((call) => refusal(typeof call === "number" ? { call } : call, errno)),
    answer(0x7fff0000),
  ];
  return `
    import koffi from "koffi";
    const filter = new DataView(new ArrayBuffer(1024));
    ${JSON.stringify(filter)}.forEach(([code, ifTrue, ifFalse, k], i) => {
      filter.setUint16(8 * i, code, true);
      filter.setUint8(8 * i + 2, ifTrue);
      filter.setUint8(8 * i + 3, ifFalse);
      filter.setUint32(8 * i + 4, k, true);
    });
    const program = new BigUint64Array(128);
    program[0] = ${filter.length}n;
    program[1] = BigInt(koffi.address(new Uint8Array(filter.buffer)));
    const prctl = koffi.load(null).func("int prctl(int option, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)");
    if (prctl(38, 1, 0, 0, 0) !== 0) throw new Error("PR_SET_NO_NEW_PRIVS: " + koffi.errno());
    const programAt = koffi.address(new Uint8Array(program.buffer));
    if (prctl(22, 2, programAt, 0, 0) !== 0) throw new Error("seccomp: " + koffi.errno());
  `;
}
