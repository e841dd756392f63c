/** Whole files as FileHandle reads and writes them: data and options of every kind, aborts. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { after, test } from "node:test";
import { Engine } from "../../dist/index.js";
import { scratchDirectory } from "../support/undo.js";
import { onBoth, type Scenario } from "./on-both.js";

const engine = await Engine.open({ depth: 8 });
after(() => engine.close());

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

/** Arguments of `writeFile` and `appendFile`, made anew for each call. */
const DATA: Readonly<Record<string, () => unknown>> = {
  null: () => null,
  undefined: () => undefined,
  "a number": () => 5,
  "a bigint": () => 5n,
  true: () => true,
  "an object": () => ({}),
  "an object of no class": () => Object.create(null),
  "a function": () => () => "x",
  "a symbol": () => Symbol("x"),
  "a date": () => new Date(0),
  "an ArrayBuffer": () => new ArrayBuffer(3),
  "a SharedArrayBuffer": () => new SharedArrayBuffer(3),
  "an object with a length": () => ({ length: 2, 0: 1, 1: 2 }),
  "an object with toString": () => ({ toString: () => "text" }),
  "no text": () => "",
  text: () => "grüße",
  "a String": () => new String("text"),
  "no bytes": () => bytes(),
  bytes: () => bytes(1, 2, 3),
  words: () => Uint16Array.from([258, 772]),
  doubles: () => Float64Array.from([1.5]),
  "a DataView": () => new DataView(bytes(1, 2, 3).buffer, 1),
  "shared bytes": () => new Uint8Array(new SharedArrayBuffer(4)),
  "an empty array": () => [],
  "an array of ArrayBuffers": () => [new ArrayBuffer(3)],
  "an array of SharedArrayBuffers": () => [new SharedArrayBuffer(3)],
  "an array of numbers": () => [1, 2],
  "an array of objects": () => [{}],
  "an array of booleans": () => [true],
  "an array of null": () => [null],
  "an array of arrays": () => [[1, 2], [3]],
  "an array of texts": () => ["a", "b"],
  "an array of views": () => [bytes(1), Uint16Array.from([2])],
  "texts before what can't be": () => ["a", 5],
  "a Set": () => new Set(["a", "b"]),
  "a Map": () => new Map([["a", "b"]]),
  "a generator": () =>
    (function* () {
      yield "a";
      yield bytes(2);
    })(),
  "an asynchronous generator": () =>
    (async function* () {
      yield "a";
      yield bytes(2);
    })(),
  "a generator that throws": () =>
    (function* () {
      yield "a";
      throw new RangeError("no more");
    })(),
  "an iterator that isn't one": () => ({ [Symbol.iterator]: 5 }),
};

const OPTIONS: Readonly<Record<string, unknown>> = {
  nothing: undefined,
  null: null,
  latin1: "latin1",
  "no encoding": "klingon",
  "an encoding in options": { encoding: "utf16le" },
  "no encoding in options": { encoding: "klingon" },
  "the encoding null": { encoding: null },
  buffer: "buffer",
  "a number": 5,
  true: true,
  "a function": () => {},
  "a signal that isn't one": { signal: 5 },
  "a signal of null": { signal: null },
  "no signal": { signal: undefined },
  "flush that isn't boolean": { flush: 1 },
  flush: { flush: true },
};

test("writeFile and appendFile accept the same as FileHandle's, and refuse the rest with its codes", async (t) => {
  const directory = scratchDirectory(t);
  const differences: unknown[] = [];
  const compare = async (what: string, scenario: Scenario): Promise<void> => {
    const [byNode, byPinless] = await onBoth(engine, directory, "w+", scenario);
    if (JSON.stringify(byNode) !== JSON.stringify(byPinless)) differences.push([what, byNode, byPinless]);
  };
  for (const [what, make] of Object.entries(DATA)) {
    await compare(`writeFile of ${what}`, (handle) => handle.writeFile(make()));
    await compare(`appendFile of ${what}`, (handle) => handle.appendFile(make()));
    await compare(`writeFile of ${what} with a signal`, (handle) =>
      handle.writeFile(make(), { signal: new AbortController().signal }),
    );
    await compare(`writeFile of ${what}, aborted`, (handle) =>
      handle.writeFile(make(), { signal: AbortSignal.abort(7) }),
    );
  }
  for (const [what, options] of Object.entries(OPTIONS)) {
    await compare(`writeFile with ${what}`, (handle) => handle.writeFile("grüße", options));
    await compare(`writeFile of texts with ${what}`, (handle) => handle.writeFile(["grüße"], options));
    await compare(`readFile with ${what}`, async (handle) => {
      await handle.write("grüße", 0);
      return handle.readFile(options);
    });
    await compare(`readFile of nothing with ${what}`, (handle) => handle.readFile(options));
  }
  assert.deepEqual(differences, []);
});

/** A signal that is aborted at the nth look at it: between any two steps, whatever the machine's speed. */
function abortedAt(look: number, reason: unknown): AbortSignal {
  const controller = new AbortController();
  let looks = 0;
  return new Proxy(controller.signal, {
    get(signal, key) {
      if (key === "aborted" && ++looks === look) controller.abort(reason);
      const value = Reflect.get(signal, key, signal);
      return typeof value === "function" ? value.bind(signal) : value;
    },
    has: (signal, key) => Reflect.has(signal, key),
  });
}

for (const look of [1, 2, 3, 4]) {
  test(`readFile and writeFile end with an AbortError when look ${look} at the signal finds it aborted`, async (t) => {
    const file = path.join(scratchDirectory(t), "file");
    const reason = new Error("the reason");
    const expected = { name: "AbortError", code: "ABORT_ERR", message: "The operation was aborted", cause: reason };
    const content = Buffer.alloc(3 << 20, 7);
    const handle = await engine.openFile(file, "w+");
    const parts = [content, content, content];
    for (const data of [content, content.toString("latin1"), parts])
      await assert.rejects(handle.writeFile(data, { signal: abortedAt(look, reason) }), expected);
    await assert.rejects(handle.appendFile(content, { signal: abortedAt(look, reason) }), expected);
    writeFileSync(file, content);
    await handle.close();
    const again = await engine.openFile(file);
    await assert.rejects(again.readFile({ signal: abortedAt(look, reason) }), expected);
    await assert.rejects(again.readFile({ signal: abortedAt(look, reason), encoding: "utf8" }), expected);
    await again.close();
  });
}
