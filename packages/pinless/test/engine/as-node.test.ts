// A File and a FileHandle do the same: random calls on both, compared one by one.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { constants, copyFileSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type FileHandle, open as openByNode } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { type Arena, Engine, type File } from "../../dist/index.js";
import { bytesOf, MEMORY_KINDS } from "../support/memory.js";
import { Random } from "../support/random.js";
import { scratchDirectory } from "../support/undo.js";

type Position = number | bigint | null | undefined;

/** Both have these methods; what they're called with may be wrong on purpose. */
interface Subject {
  // biome-ignore lint/suspicious/noExplicitAny: the arguments are the test
  [method: string]: (...args: any[]) => Promise<any>;
}

/** Outcome of a call, as far as it must equal FileHandle's. */
interface Outcome {
  readonly result?: unknown;
  readonly error?: unknown;
}

async function outcomeOf(call: () => Promise<unknown>, mine: readonly unknown[]): Promise<Outcome> {
  try {
    const value = await call();
    if (typeof value !== "object" || value === null) return { result: value };
    // The caller's own memory comes back as it is; memory made for the caller is compared.
    const shown = Object.entries(value).map(([key, v]) => [
      key,
      isMine(v, mine)
        ? "the caller's"
        : ArrayBuffer.isView(v)
          ? [v.constructor.name, v.byteLength, createHash("md5").update(bytesOf(v)).digest("hex")]
          : v,
    ]);
    return { result: Object.fromEntries(shown) };
  } catch (error) {
    const { name, code, errno, syscall } = error as NodeJS.ErrnoException;
    return { error: { name, code, errno, syscall } };
  }
}

function isMine(value: unknown, mine: readonly unknown[]): boolean {
  return mine.includes(value) || (Array.isArray(value) && value.every((each) => mine.includes(each)));
}

/** One call: made on both subjects with memory of their own. */
interface Call {
  readonly what: string;
  run(subject: Subject, memory: (index: number) => ArrayBufferView): Promise<unknown>;
  /** Memory that the call needs: kind and bytes of each piece. */
  readonly pieces: readonly { kind: number; bytes: number }[];
}

const NODE_MAJOR = Number.parseInt(process.versions.node, 10);
const SECTORS = fc.integer({ min: 0, max: 40 }).map((n) => n * 512);
const location = fc.oneof(SECTORS, fc.nat(20_000));
const position: fc.Arbitrary<Position> = fc.oneof(
  location,
  // Node 20 takes a bigint for the file's own position; here it's a position, as in newer ones.
  NODE_MAJOR >= 22 ? location.map((n) => BigInt(n)) : location,
  fc.constantFrom<Position>(null, undefined, -1, 2 ** 33, 100_000),
);
const numberPosition: fc.Arbitrary<Position> = fc.oneof(location, fc.constantFrom<Position>(null, undefined, -1));
/** The last kind is arena memory. */
const piece = fc.record({ kind: fc.nat(MEMORY_KINDS.length), bytes: fc.oneof(SECTORS, fc.nat(9000)) });
const slice = fc.record({ from: fc.nat(3000), drop: fc.nat(3000) });

function show(value: unknown): string {
  return typeof value === "bigint" ? `${value}n` : String(value);
}

const reads: fc.Arbitrary<Call> = fc
  .record({ piece, position, slice, form: fc.integer({ min: 0, max: 5 }) })
  .map(({ piece, position, slice, form }) => ({
    what: `read form ${form} of ${piece.bytes} bytes at ${show(position)}, ${slice.from}+${slice.drop}`,
    pieces: [piece],
    run: (subject, memory) => {
      const buffer = memory(0);
      const offset = Math.min(slice.from, buffer.byteLength);
      const length = Math.max(0, buffer.byteLength - offset - slice.drop);
      switch (form) {
        case 0:
          return subject.read!(buffer, offset, length, position);
        case 1:
          return subject.read!(buffer, { offset, length, position });
        case 2:
          return subject.read!({ buffer, offset, length, position });
        case 3:
          return subject.read!(buffer, { position });
        case 4:
          return subject.read!(buffer, null, null, position);
        default:
          return subject.read!(position === undefined ? undefined : { position });
      }
    },
  }));

const writes: fc.Arbitrary<Call> = fc
  .record({ piece, position: numberPosition, slice, form: fc.integer({ min: 0, max: 4 }) })
  .map(({ piece, position, slice, form }) => ({
    what: `write form ${form} of ${piece.bytes} bytes at ${show(position)}, ${slice.from}+${slice.drop}`,
    pieces: [piece],
    run: (subject, memory) => {
      const buffer = memory(0);
      const offset = Math.min(slice.from, buffer.byteLength);
      const length = Math.max(0, buffer.byteLength - offset - slice.drop);
      switch (form) {
        case 0:
          return subject.write!(buffer, offset, length, position);
        case 1:
          return subject.write!(buffer, { offset, length, position });
        case 2:
          return subject.write!(buffer, { position });
        case 3:
          return subject.write!(buffer, null);
        default:
          return subject.write!(buffer, undefined, undefined, position);
      }
    },
  }));

const texts: fc.Arbitrary<Call> = fc
  .record({
    text: fc.string({ unit: "grapheme", maxLength: 3000 }),
    position: numberPosition,
    encoding: fc.constantFrom(undefined, null, "utf8", "utf-8", "latin1", "utf16le", "ucs2", "base64", "ascii", "hex"),
  })
  .map(({ text, position, encoding }) => ({
    what: `write of ${JSON.stringify(text.slice(0, 20))} (${text.length}) at ${show(position)} in ${encoding}`,
    pieces: [],
    run: (subject) => subject.write!(text, position, encoding),
  }));

const vectors: fc.Arbitrary<Call> = fc
  .record({ pieces: fc.array(piece, { minLength: 1, maxLength: 4 }), position: numberPosition, write: fc.boolean() })
  .map(({ pieces, position, write }) => ({
    what: `${write ? "writev" : "readv"} of ${pieces.map(({ bytes }) => bytes)} at ${show(position)}`,
    pieces,
    run: (subject, memory) => {
      const buffers = pieces.map((_, i) => memory(i));
      return write ? subject.writev!(buffers, position) : subject.readv!(buffers, position);
    },
  }));

const others: fc.Arbitrary<Call> = fc
  .tuple(fc.constantFrom("truncate", "sync", "datasync", "stat"), fc.option(location, { nil: undefined }))
  .map(([method, length]) => ({
    what: `${method} ${length}`,
    pieces: [],
    run: async (subject) => {
      if (method !== "stat") return method === "truncate" ? subject.truncate!(length) : subject[method]!();
      const { size, mode } = await subject.stat!();
      return { size, mode };
    },
  }));

/**
 * Positions at the limit of what is valid, and beyond. Node 20 takes what isn't a position for the file's own; newer
 * Nodes refuse it.
 */
const POSITIONS: readonly unknown[] = [
  ...[0, -0, 1.5, -1, -2, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53 - 1, 2 ** 53, 2 ** 63],
  ...["1", "x", "", true, false, {}, [], [1], () => 1, new Date(0), null, undefined],
  ...[-1n, -2n, -(2n ** 63n)],
  // Node 20 takes a bigint for the file's own position, against its documentation. Here it's a position, as in newer
  // Nodes.
  ...(NODE_MAJOR < 22
    ? []
    : [0n, 5n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 62n, 2n ** 63n - 11n, 2n ** 63n - 1n, 2n ** 64n]),
];

/** Calls with invalid arguments. Not among them: a length of 1.5, which ends Node 20 itself. */
const WRONG: readonly [string, (subject: Subject, buffer: ArrayBufferView) => Promise<unknown>][] = [
  ["offset behind the end", (s, b) => s.read!(b, b.byteLength + 1, 0, 0)],
  ["offset behind the end, a length", (s, b) => s.read!(b, b.byteLength + 1, 1, 0)],
  ["negative offset", (s, b) => s.read!(b, -1, 1, 0)],
  ["offset in halves", (s, b) => s.read!(b, 0.5, 1, 0)],
  ["offset by a text", (s, b) => s.read!(b, { offset: "1" })],
  ["length behind the end", (s, b) => s.read!(b, 1, b.byteLength, 0)],
  ["negative length", (s, b) => s.read!(b, 0, -1, 0)],
  ["read into a text", (s) => s.read!("text")],
  ["read into a number", (s) => s.read!(5)],
  ["read into null", (s) => s.read!(null)],
  ["read into an ArrayBuffer", (s) => s.read!({ buffer: new ArrayBuffer(8) })],
  ["write of a number", (s) => s.write!(5)],
  ["write of null", (s) => s.write!(null)],
  ["write of an object", (s) => s.write!({})],
  ["write: offset behind the end", (s, b) => s.write!(b, b.byteLength + 1, 0, 0)],
  ["write: negative offset", (s, b) => s.write!(b, -1, 1, 0)],
  ["write: offset in halves", (s, b) => s.write!(b, 0.5, 1, 0)],
  ["write: length behind the end", (s, b) => s.write!(b, 1, b.byteLength, 0)],
  ["write: negative length", (s, b) => s.write!(b, 0, -1, 0)],
  ["write: half a byte in hex", (s) => s.write!("abc", 0, "hex")],
  ["write: an encoding that isn't one", (s) => s.write!("abc", 0, "klingon")],
  ...POSITIONS.filter((p) => NODE_MAJOR >= 22 || typeof p !== "bigint").flatMap((p): typeof WRONG => {
    const at = typeof p === "symbol" ? "a symbol" : `${typeof p} ${String(p)}`;
    return [
      [`read at ${at}`, (s, b) => s.read!(b, 0, 10, p)],
      [`read with position ${at}`, (s, b) => s.read!(b, { length: 10, position: p })],
      [`read of nothing at ${at}`, (s, b) => s.read!(b, 0, 0, p)],
      [`readv at ${at}`, (s, b) => s.readv!([b], p)],
    ];
  }),
  ...POSITIONS.filter((p) => typeof p !== "number" || Math.abs(p) < 2 ** 31).flatMap((p): typeof WRONG => [
    [`write at ${typeof p} ${String(p)}`, (s, b) => s.write!(b, 0, 10, p)],
    [`write with position ${typeof p} ${String(p)}`, (s, b) => s.write!(b, { length: 10, position: p })],
    [`write of a text at ${typeof p} ${String(p)}`, (s) => s.write!("text", p)],
    [`writev at ${typeof p} ${String(p)}`, (s, b) => s.writev!([b], p)],
  ]),
  ["read into nothing", (s) => s.read!(new Uint8Array(0), 0, 1, 0)],
  ["readv of a view", (s, b) => s.readv!(b)],
  ["readv of texts", (s) => s.readv!(["a"])],
  ["writev of texts", (s) => s.writev!(["a"])],
  ["writev of nothing", (s) => s.writev!()],
  ["truncate to a text", (s) => s.truncate!("1")],
  ["truncate to halves", (s) => s.truncate!(1.5)],
  ["truncate below 0", (s) => s.truncate!(-5)],
];

class Pair {
  readonly byNode: FileHandle;
  readonly byPinless: File;
  readonly #arena: Arena;

  constructor(byNode: FileHandle, byPinless: File, arena: Arena) {
    this.byNode = byNode;
    this.byPinless = byPinless;
    this.#arena = arena;
  }

  /** Makes the call on both; every byte of the memory handed over must be the same afterwards. */
  async call({ what, run, pieces }: Call, seed: number): Promise<void> {
    const outcomes: Outcome[] = [];
    const contents: Buffer[][] = [];
    const allocated: Uint8Array[] = [];
    for (const subject of [this.byNode, this.byPinless] as unknown as Subject[]) {
      const views = pieces.map(({ kind, bytes }) => {
        const memory = MEMORY_KINDS[kind];
        let view: ArrayBufferView;
        if (memory !== undefined) view = memory.make(bytes - (bytes % memory.unit));
        else {
          const buffer = this.#arena.alloc(bytes + 512);
          allocated.push(buffer);
          view = buffer.subarray(seed % 2 === 0 ? 0 : seed % 512).subarray(0, bytes);
        }
        bytesOf(view).set(new Random(seed).bytes(view.byteLength));
        return view;
      });
      outcomes.push(await outcomeOf(() => run(subject, (index) => views[index]!), views));
      contents.push(views.map((view) => Buffer.from(bytesOf(view))));
    }
    for (const buffer of allocated) await this.#arena.free(buffer);
    assert.deepEqual(outcomes[1], outcomes[0], what);
    for (const [i, { kind }] of pieces.entries()) {
      const [byNode, byPinless] = [contents[0]![i]!, contents[1]![i]!];
      // Behind the end of the file a device fills up its last block with zeros.
      const filledUp =
        kind === MEMORY_KINDS.length && byNode.every((b, at) => b === byPinless[at] || byPinless[at] === 0);
      assert.ok(byNode.equals(byPinless) || filledUp, `${what}: other bytes in memory ${i}`);
    }
  }

  async close(): Promise<void> {
    await this.byNode.close();
    await this.byPinless.close();
  }
}

const FLAGS = ["r", "r+", "w", "w+", "a", "a+", "rs+", "as", constants.O_RDWR, constants.O_RDWR | constants.O_APPEND];

test("File does what FileHandle does: random calls of every form, on every flag", async (t) => {
  const directory = scratchDirectory(t);
  const engine = await Engine.open({ depth: 8 });
  try {
    const arena = await engine.arena({ bytes: 4 << 20 });
    const call = fc.oneof({ weight: 4, arbitrary: reads }, { weight: 4, arbitrary: writes }, texts, vectors, others);
    const calls = fc.array(fc.tuple(call, fc.nat()), { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...FLAGS), fc.nat(20_000), calls, async (flags, size, calls) => {
        const [left, right] = [path.join(directory, "node"), path.join(directory, "pinless")] as const;
        writeFileSync(left, new Random(size).bytes(size));
        copyFileSync(left, right);
        const pair = new Pair(await openByNode(left, flags), await engine.openFile(right, flags), arena);
        try {
          for (const [each, seed] of calls) await pair.call(each, seed);
        } finally {
          await pair.close();
        }
        assert.ok(readFileSync(left).equals(readFileSync(right)), "the files differ");
      }),
      { numRuns: 250 },
    );
  } finally {
    await engine.close();
  }
});

test("File refuses what FileHandle refuses, with the same code, open and closed", async (t) => {
  const directory = scratchDirectory(t);
  const engine = await Engine.open({ depth: 8 });
  try {
    const arena = await engine.arena({ bytes: 2 << 20 });
    const [left, right] = [path.join(directory, "node"), path.join(directory, "pinless")] as const;
    for (const file of [left, right]) writeFileSync(file, new Random(1).bytes(5000));
    const pair = new Pair(await openByNode(left, "r+"), await engine.openFile(right, "r+"), arena);
    const differences: string[] = [];
    const compare = async (when: string): Promise<void> => {
      for (const [what, run] of WRONG) {
        const call = { what, run: (s: Subject, memory: (i: number) => ArrayBufferView) => run(s, memory(0)) };
        await pair.call({ ...call, pieces: [{ kind: 0, bytes: 100 }] }, 0).catch((error) => {
          differences.push(`${when}: ${what}: pinless ${inspect(error.actual)}, node ${inspect(error.expected)}`);
        });
      }
    };
    await compare("open");
    await pair.close();
    await compare("closed");
    for (const method of ["stat", "sync", "datasync", "truncate", "close"])
      await pair.call({ what: `closed: ${method}`, run: (s) => s[method]!(), pieces: [] }, 0);
    assert.deepEqual(differences, []);
    assert.ok(readFileSync(left).equals(readFileSync(right)), "the files differ");
  } finally {
    await engine.close();
  }
});

function inspect(value: unknown): string {
  return JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v}n` : v));
}

test("Engine.openFile takes FileHandle's flags and modes, and fails as it does", async (t) => {
  const directory = scratchDirectory(t);
  const engine = await Engine.open({ depth: 8 });
  const existing = path.join(directory, "existing");
  const { O_CREAT, O_EXCL, O_RDWR, O_WRONLY, O_TRUNC, O_DIRECTORY } = constants;
  const missing = path.join(directory, "no", "such", "file");
  const cases: [string, (string | number | undefined)?, number?][] = [
    ...["r", "r+", "w", "wx", "xw", "w+", "wx+", "a", "ax", "a+", "ax+", "rs", "rs+", "as", "as+"].flatMap(
      (flags): [string, string, number?][] => [
        [existing, flags],
        [path.join(directory, `new-${flags}`), flags, 0o640],
        [missing, flags],
      ],
    ),
    [existing, undefined],
    [path.join(directory, "numeric"), O_CREAT | O_EXCL | O_RDWR, 0o604],
    [existing, O_WRONLY | O_TRUNC],
    [existing, O_DIRECTORY],
    [directory, "r"],
    [directory, "r+"],
    [existing, "q"],
    [existing, "r", "rw" as unknown as number],
    [5 as unknown as string, "r"],
    ["with\0null", "r"],
    ["", "r"],
  ];
  try {
    for (const [file, flags, mode] of cases) {
      const outcomes: Outcome[] = [];
      for (const by of ["node", "pinless"] as const) {
        writeFileSync(existing, "some content");
        const open = (): Promise<FileHandle | File> =>
          by === "node" ? openByNode(file, flags, mode) : engine.openFile(file, flags, mode);
        outcomes.push(
          await outcomeOf(async () => {
            const opened = await open();
            await opened.close();
            const stat = statSync(file);
            if (file.includes("new-") || file.includes("numeric")) rmSync(file);
            return { size: stat.size, mode: stat.mode.toString(8) };
          }, []),
        );
      }
      assert.deepEqual(outcomes[1], outcomes[0], `open(${file}, ${flags}, ${mode})`);
    }
    await assert.rejects(engine.openFile(missing), { code: "ENOENT", syscall: "open", path: missing });
  } finally {
    await engine.close();
  }
});
