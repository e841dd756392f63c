// Holds every size, offset and number of src/abi against the C headers of both architectures.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { LAYOUTS } from "../../dist/abi/layouts.js";
import { NUMBERS } from "../../dist/abi/numbers.js";
import * as errno from "../../dist/protocol/errno.js";
import { IOPRIO, RWF } from "../../dist/protocol/how.js";
import { type Arch, compilerFor, evaluate, exists } from "./c-compiler.js";
import { NEWER } from "./newer-than-headers.js";

/** Numbers outside of src/abi, since the protocol imports nothing of it. */
const OF_PROTOCOL = [
  { headers: ["linux/fs.h"], values: RWF },
  { headers: ["linux/ioprio.h"], values: IOPRIO },
];

type Layouts = typeof LAYOUTS;
type Numbers = typeof NUMBERS;

/** One thing to check: a constant expression of C, what we think it is, and the name that NEWER would excuse it by. */
interface Claim {
  headers: readonly string[];
  expression: string;
  ours: number;
  name: string;
}

function claims(arch: Arch, layouts: Layouts, numbers: Numbers): Claim[] {
  const all: Claim[] = [];
  for (const [name, { headers, size, fields }] of Object.entries(layouts)) {
    const type = `struct ${name}`;
    all.push({ headers, expression: `sizeof(${type})`, ours: size, name });
    for (const [field, offset] of Object.entries(fields)) {
      const expression = `__builtin_offsetof(${type}, ${field})`;
      all.push({ headers, expression, ours: offset, name: `${name}.${field}` });
    }
  }
  for (const { headers, values, perArch } of numbers) {
    if (perArch !== undefined && perArch !== arch) continue;
    for (const [name, ours] of Object.entries(values)) all.push({ headers, expression: name, ours, name });
  }
  return all;
}

/** The claims that don't hold, and those that the headers are too old for. */
function check(
  arch: Arch,
  layouts: Layouts,
  numbers: Numbers,
): { checked: number; wrong: string[]; unknown: string[] } {
  const all = claims(arch, layouts, numbers);
  // A compilation for each set of headers: some of them can't be included together.
  const groups = new Map<string, Claim[]>();
  for (const claim of all) {
    const key = claim.headers.join(" ");
    groups.set(key, [...(groups.get(key) ?? []), claim]);
  }
  const wrong: string[] = [];
  const unknown: string[] = [];
  for (const group of groups.values()) {
    const expressions = [...new Set(group.map(({ expression }) => expression))];
    const values = evaluate(compilerFor(arch), group[0]!.headers, expressions);
    for (const { expression, ours, name } of group) {
      const theirs = values.get(expression);
      if (typeof theirs === "bigint") {
        if (theirs !== BigInt(ours)) wrong.push(`${expression} is ${theirs}, not ${ours}`);
        continue;
      }
      // A structure that is too new excuses its fields.
      const reason = NEWER[name] ?? NEWER[name.split(".")[0]!];
      if (reason === undefined) wrong.push(`${expression}: ${theirs?.message ?? "no answer"}`);
      else unknown.push(`${name} not checked: ${reason}`);
    }
  }
  return { checked: all.length - unknown.length, wrong, unknown };
}

for (const arch of ["x64", "arm64"] as const) {
  const compiler = compilerFor(arch);
  const skip = exists(compiler) ? false : `no ${compiler}`;

  test(`sizes, offsets and numbers are those of the ${arch} headers`, { skip }, (t) => {
    const errnos = Object.fromEntries(Object.entries(errno).filter(([name]) => /^E[A-Z]+$/.test(name)));
    const numbers = [...NUMBERS, ...OF_PROTOCOL, { headers: ["errno.h"], values: errnos as Record<string, number> }];
    const { checked, wrong, unknown } = check(arch, LAYOUTS, numbers);
    t.diagnostic(`${arch}: ${checked} checked`);
    for (const line of unknown) t.diagnostic(`${arch}: ${line}`);
    assert.deepEqual(wrong, []);
    assert.ok(checked > 0);
  });

  test(`a wrong offset, size, number or name is found (${arch})`, { skip }, () => {
    const headers = ["linux/aio_abi.h"];
    const layouts = {
      iocb: { headers, size: 64, fields: { aio_buf: 24, aio_nbytes: 40 } },
      io_event: { headers, size: 40, fields: { res: 16, nothing: 0 } },
    };
    const numbers = [
      { headers, values: { IOCB_CMD_PREAD: 0, IOCB_CMD_PWRITE: 2, IOCB_CMD_NOTHING: 3 } },
      { headers, values: { IOCB_CMD_FSYNC: 9 }, perArch: arch },
    ];
    assert.deepEqual(
      check(arch, layouts, numbers).wrong.map((line) => line.replace(/:.*/, "")),
      [
        "__builtin_offsetof(struct iocb, aio_nbytes) is 32, not 40",
        "sizeof(struct io_event) is 32, not 40",
        "__builtin_offsetof(struct io_event, nothing)",
        "IOCB_CMD_PWRITE is 1, not 2",
        "IOCB_CMD_NOTHING",
        "IOCB_CMD_FSYNC is 2, not 9",
      ],
    );
  });
}

test("every layout and number that src/abi exports is among those that are checked", async () => {
  const checked = new Set<unknown>([...Object.values(LAYOUTS), ...NUMBERS.map(({ values }) => values)]);
  const isData = (value: unknown) => typeof value === "object" && value !== LAYOUTS && value !== NUMBERS;
  const directory = new URL("../../dist/abi/", import.meta.url);
  const missed: string[] = [];
  for (const file of readdirSync(directory).filter((name) => name.endsWith(".js"))) {
    const exported: Record<string, unknown> = await import(new URL(file, directory).href);
    for (const [name, value] of Object.entries(exported)) {
      if (typeof value === "number" || (isData(value) && !checked.has(value))) missed.push(`${file}: ${name}`);
    }
  }
  assert.deepEqual(missed, []);
});

test("every excused name is one of ours", () => {
  const ours = new Set(
    (["x64", "arm64"] as const)
      .flatMap((arch) => claims(arch, LAYOUTS, [...NUMBERS, ...OF_PROTOCOL]))
      .map(({ name }) => name),
  );
  const foreign = Object.keys(NEWER).filter((name) => !ours.has(name));
  assert.deepEqual(foreign, []);
});
