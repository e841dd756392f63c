// The check of members that nothing reads, on two packages, one of which uses the other.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../..", import.meta.url));

const LIBRARY = `
  export const COSTS = { asked: 1, byDestructuring: 2, unasked: 3 } as const;
  export const WHOLE = { all: { of: 1, it: 2 } } as const;
  export const CODES = { ERR_A: "a", ERR_B: "b" } as const;
  export interface Shape { area(): number }
  abstract class Base { work(): number { return 0; } readonly named = "x"; }
  export class Square extends Base implements Shape {
    #side = 1;
    counted = 0;
    area(): number { this.counted++; return this.#side; }
    override toString(): string { return this.named; }
    perimeter(): number { return 4 * this.#side; }
    get half(): number { return this.#side / 2; }
  }
  export interface Worker { work(): number }
  export class Users { static open(): Users { return new Users(); } close(): void {} #hidden(): void {} }
  export const run = (worker: Worker): number => worker.work();
`;
const USE = `
  import { type CODES, COSTS, run, type Shape, Square, WHOLE } from "pinless/inside";
  const { byDestructuring } = COSTS;
  const code: keyof typeof CODES = "ERR_A";
  const shape: Shape = new Square();
  console.log(COSTS.asked, byDestructuring, Object.keys(WHOLE), code, shape.area(), run(new Square()));
`;

test("scripts/dead-members names members that no package's sources read, and no others", () => {
  const root = mkdtempSync(path.join(os.tmpdir(), "pinless-dead-"));
  try {
    const write = (file: string, text: string): void => {
      mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
      writeFileSync(path.join(root, file), text);
    };
    const exported = { ".": "./dist/index.js", "./inside": { default: "./dist/inside.js" } };
    write("tsconfig.json", JSON.stringify({ compilerOptions: { module: "nodenext", target: "es2022", strict: true } }));
    write("packages/pinless/package.json", JSON.stringify({ name: "pinless", type: "module", exports: exported }));
    write("packages/pinless/src/index.ts", 'export { Users } from "./inside.js";');
    write("packages/pinless/src/inside.ts", LIBRARY);
    write("packages/use/package.json", JSON.stringify({ name: "use", type: "module" }));
    write("packages/use/src/main.ts", USE);
    symlinkSync(path.join(ROOT, "node_modules"), path.join(root, "node_modules"));
    const { stderr, status } = spawnSync("node", [path.join(ROOT, "scripts/dead-members.mjs"), root], {
      encoding: "utf8",
    });
    const named = [...stderr.matchAll(/nothing in src reads (\S+)/g)].map(([, name]) => name);
    assert.deepEqual(named.sort(), [
      "CODES.ERR_B",
      "COSTS.unasked",
      "Square.counted",
      "Square.half",
      "Square.perimeter",
      "Users.#hidden",
    ]);
    assert.equal(status, 1);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
