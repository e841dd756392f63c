/** System calls that fail as under a container's filter. */

/** Text for the beginning of a module: lets these calls fail with `errno` in the thread that runs it. */
export function refusing(errno: number, ...calls: number[]): string {
  const LOAD_NUMBER = [0x20, 0, 0, 0];
  const ALLOW = [0x06, 0, 0, 0x7fff0000];
  const REFUSE = [0x06, 0, 0, 0x50000 | errno];
  const jumps = calls.map((call, i) => [0x15, calls.length - i, 0, call]);
  const filter = [LOAD_NUMBER, ...jumps, ALLOW, REFUSE];
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
    if (prctl(22, 2, koffi.address(new Uint8Array(program.buffer)), 0, 0) !== 0) throw new Error("seccomp: " + koffi.errno());
  `;
}
