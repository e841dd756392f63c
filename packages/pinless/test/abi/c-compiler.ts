// Asks a C compiler what constant expressions are worth. It only compiles to assembly and nothing runs, so a
// cross-compiler answers for a machine that isn't here.
import { spawnSync } from "node:child_process";

export type Arch = "x64" | "arm64";

const CROSS: Record<Arch, string> = { x64: "x86_64-linux-gnu-gcc", arm64: "aarch64-linux-gnu-gcc" };

/** The name of the compiler for an architecture. */
export function compilerFor(arch: Arch): string {
  return arch === process.arch ? "cc" : CROSS[arch];
}

export function exists(compiler: string): boolean {
  return spawnSync(compiler, ["--version"]).error === undefined;
}

/** Evaluates expressions by the C compiler: the value of each, or the compiler's error. */
export function evaluate(
  compiler: string,
  headers: readonly string[],
  expressions: readonly string[],
): Map<string, bigint | Error> {
  const results = new Map<string, bigint | Error>();
  // Each expression has a line to itself, so an error's line says whose it is. That one is left out and the rest tried
  // again; an error never hides another for more than one round.
  for (let round = 0; round < 5; round++) {
    const left = expressions.filter((expression) => !results.has(expression));
    const prologue = ["#define _GNU_SOURCE", ...headers.map((header) => `#include <${header}>`), "void values(void) {"];
    // In halves: an operand of x86-64 has 32 bits, and an ioctl's number doesn't fit into their positive ones.
    const body = left.map((expression, index) => {
      const whole = `(long long)(${expression})`;
      return `asm("#@ ${index} %c0 %c1" : : "i"((int)(${whole} >> 32)), "i"((int)(${whole})));`;
    });
    const { error, status, stdout, stderr } = spawnSync(compiler, ["-std=gnu11", "-w", "-S", "-xc", "-", "-o", "-"], {
      input: [...prologue, ...body, "}", ""].join("\n"),
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C" },
    });
    if (error) throw error;
    if (status === 0) {
      for (const [, index, high, low] of stdout.matchAll(/#@ (\d+) (-?\d+) (-?\d+)/g)) {
        results.set(left[Number(index)]!, (BigInt(high!) << 32n) | BigInt.asUintN(32, BigInt(low!)));
      }
      return results;
    }
    const errors = [...stderr.matchAll(/^<stdin>:(\d+):\d+: (?:fatal )?error: (.*)$/gm)];
    for (const [, line, message] of errors) {
      const expression = left[Number(line) - prologue.length - 1];
      if (expression === undefined) throw new Error(`${compiler}, ${headers.join(" ")}: ${message}`);
      results.set(expression, new Error(message));
    }
    if (errors.length === 0) break;
  }
  throw new Error(`${compiler} can't compile with ${headers.join(" ")}`);
}
