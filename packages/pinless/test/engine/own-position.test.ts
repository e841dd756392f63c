// Calls without a position use that of the open description, which all its users share.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";
import { open as openByNode } from "node:fs/promises";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { type Arena, Engine, type File, type SchemeName } from "../../dist/index.js";
import { runModule } from "../support/children.js";
import { ext4, needsRoot } from "../support/disks.js";
import { ioUringOff } from "../support/io-uring.js";
import { Random } from "../support/random.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const MIB = 1 << 20;
const SCHEMES: readonly SchemeName[] = ["io_uring", "aio", "direct"];

async function start(t: TestContext, scheme: SchemeName): Promise<{ engine: Engine; arena: Arena; at: string }> {
  const engine = await Engine.open({ scheme, depth: 8, pin: "per-io" });
  undoing(t, () => engine.close());
  return { engine, arena: await engine.arena({ bytes: 16 * MIB }), at: path.join(scratchDirectory(t), "file") };
}

/** A program of a user's, in a shell line in place of NODE; `$1` is a file's path. */
async function inShell(line: string, source: string, file: string): Promise<void> {
  const wrapper = ["sh", "-c", line.replaceAll("NODE", '"$@"'), "sh"];
  const { code, stderr } = await runModule(source, { wrapper, env: { FILE: file } });
  assert.equal(code, 0, stderr);
}

for (const scheme of SCHEMES) {
  const skip = scheme === "io_uring" ? ioUringOff() : false;
  const opening = `
    import { Engine } from PINLESS;
    const engine = await Engine.open({ scheme: "${scheme}", pin: "per-io" });
  `;

  test(`${scheme}: a shell's output continues at the shared position, before and after other writers`, {
    skip,
  }, async (t) => {
    const file = path.join(scratchDirectory(t), "out");
    const source = `${opening}
      const file = await engine.openFile({ fd: 1 });
      await file.write("two\\n");
      await file.close();
      await engine.close();`;
    await inShell('(echo one; NODE; echo three) > "$FILE"', source, file);
    assert.equal(readFileSync(file, "utf8"), "one\ntwo\nthree\n");
  });

  test(`${scheme}: a shell's input is read from the shared position, and other readers continue after it`, {
    skip,
  }, async (t) => {
    const file = path.join(scratchDirectory(t), "in");
    writeFileSync(file, "first\nsecond\nthird\n");
    const source = `${opening}
      const file = await engine.openFile({ fd: 0 });
      const { buffer } = await file.read(Buffer.alloc(7));
      process.stdout.write(String(buffer));
      await file.close();
      await engine.close();`;
    await inShell('{ read x; NODE; cat; } < "$FILE" > "$FILE.out"', source, file);
    assert.equal(readFileSync(`${file}.out`, "utf8"), "second\nthird\n");
  });

  test(`${scheme}: a child with the descriptor writes after the parent's bytes, and the parent after the child's`, {
    skip,
  }, async (t) => {
    const { engine, arena, at } = await start(t, scheme);
    const file = await engine.openFile(at, "w");
    const block = arena.alloc(4096).fill(0x61);
    await file.write(block);
    await file.write("header\n");
    execFileSync("echo", ["child"], { stdio: ["ignore", file.fd, "inherit"] });
    await file.write(block);
    execFileSync("echo", ["again"], { stdio: ["ignore", file.fd, "inherit"] });
    await file.writev([Buffer.from("x"), block, Buffer.from("y\n")]);
    await file.writeFile("the end");
    await file.close();
    const as = "a".repeat(4096);
    assert.equal(readFileSync(at, "utf8"), `${as}header\nchild\n${as}again\nx${as}y\nthe end`);
  });

  test(`${scheme}: a stream's descriptor that is handed out shares its position`, { skip }, async (t) => {
    const { engine, at } = await start(t, scheme);
    const file = await engine.openFile(at, "w");
    const stream = file.createWriteStream();
    const write = (text: string) => new Promise<void>((resolve) => stream.write(text, () => resolve()));
    await write("a".repeat(8192));
    const before = engine.stats().buffered;
    if (file.direct) assert.equal(before, 0);
    execFileSync("echo", ["child"], { stdio: ["ignore", stream as unknown as number, "inherit"] });
    await write("b");
    stream.end();
    await once(stream, "close");
    assert.equal(readFileSync(at, "utf8"), `${"a".repeat(8192)}child\nb`);
  });

  test(`${scheme}: a descriptor that is handed out during I/O has the position where that will end`, {
    skip,
  }, async (t) => {
    const { engine, arena, at } = await start(t, scheme);
    writeFileSync(at, "");
    const file = await engine.openFile(at, "r+");
    const blocks = arena.alloc(4 * MIB).fill(0x62);
    const writes = [file.write(blocks), file.write(blocks)];
    // The second one goes behind what is written here, or before it, but never over it.
    await Promise.resolve();
    const written = writeSync(file.fd, "c");
    for (const { bytesWritten } of await Promise.all(writes)) assert.equal(bytesWritten, 4 * MIB);
    const content = readFileSync(at);
    const expected = Buffer.alloc(8 * MIB + written, 0x62);
    expected.write("c", content.indexOf("c"));
    assert.ok(content.equals(expected));
    await file.close();
  });

  test(`${scheme}: two Files and node:fs on one descriptor share a position`, { skip }, async (t) => {
    const { engine, arena, at } = await start(t, scheme);
    writeFileSync(at, new Random(3).bytes(40_000));
    const content = readFileSync(at);
    const fd = openSync(at, "r");
    const [first, second] = [await engine.openFile({ fd }), await engine.openFile({ fd })];
    const got: Uint8Array[] = [];
    const own = Buffer.alloc(777);
    for (const read of [
      async () => first.read(Buffer.alloc(1000)),
      async () => second.read(arena.alloc(4096)),
      async () => ({ buffer: own.subarray(0, readSync(fd, own)) }),
      async () => first.read(arena.alloc(8192)),
      async () => ({ buffer: Buffer.concat((await second.readv([Buffer.alloc(5), arena.alloc(7)])).buffers) }),
      async () => ({ buffer: await first.readFile() }) as { buffer: Buffer },
    ])
      got.push((await read()).buffer);
    assert.ok(Buffer.concat(got).equals(content));
    await first.close();
    await second.close();
    closeSync(fd);
  });

  test(`${scheme}: beside other writers or readers at the same time no byte is overwritten or read twice`, {
    skip,
  }, async (t) => {
    const { engine, arena, at } = await start(t, scheme);
    const file = await engine.openFile(at, "w");
    const line = arena.alloc(4096).fill(0x70);
    line[4095] = 0x0a;
    const script = "i=0; while [ $i -lt 300 ]; do echo child; i=$((i+1)); done";
    const child = spawn("sh", ["-c", script], { stdio: ["ignore", file.fd, "inherit"] });
    const ended = once(child, "exit");
    for (let i = 0; i < 300; i++) await (i % 2 === 0 ? file.write("parent\n") : file.write(line));
    await ended;
    await file.close();
    const lines = readFileSync(at, "utf8").split("\n");
    const count = (what: string): number => lines.filter((each) => each === what).length;
    assert.deepEqual([count("child"), count("parent"), count("p".repeat(4095)), lines.length], [300, 150, 150, 601]);

    const records = Array.from({ length: 2000 }, (_, i) => String(i).padStart(99, ".").concat("\n"));
    writeFileSync(at, records.join(""));
    const fd = openSync(at, "r");
    undoing(t, () => closeSync(fd));
    const readers = await Promise.all([engine.openFile({ fd }), engine.openFile({ fd }), engine.openFile({ fd })]);
    const got: string[] = [];
    const readAll = async (reader: File, memory: Uint8Array): Promise<void> => {
      for (;;) {
        const { bytesRead } = await reader.read(memory);
        if (bytesRead === 0) return;
        got.push(Buffer.from(memory.subarray(0, bytesRead)).toString());
      }
    };
    await Promise.all(readers.map((reader, i) => readAll(reader, i === 0 ? arena.alloc(500) : Buffer.alloc(300))));
    assert.deepEqual(
      got
        .join("")
        .match(/.{99}\n/g)
        ?.sort(),
      [...records].sort(),
    );
    assert.equal(got.join("").length, 200_000);
  });

  test(`${scheme}: a full disk stops a write at its position`, { skip: skip || needsRoot }, async (t) => {
    const { engine, arena } = await start(t, scheme);
    const at = path.join(ext4(t, 8 * MIB), "file");
    const file = await engine.openFile(at, "w+");
    let expected = 0;
    for (const memory of [arena.alloc(3 * MIB).fill(1), Buffer.alloc(7 * MIB, 2)]) {
      const written = await file.write(memory).then(
        ({ bytesWritten }) => bytesWritten,
        (error) => error.bytesWritten,
      );
      expected += written;
    }
    assert.ok(expected < 10 * MIB, "the disk wasn't full");
    await file.truncate(MIB);
    const { bytesWritten } = await file.write("tail");
    assert.equal(bytesWritten, 4);
    assert.equal((await file.stat()).size, expected + 4);
    assert.equal(String((await file.read(Buffer.alloc(4), { position: expected })).buffer), "tail");
    await file.close();
  });

  test(`${scheme}: memory of a mapped file can be appended, and read into at a shared position`, {
    skip,
  }, async (t) => {
    const { engine, at } = await start(t, scheme);
    const mapped = await engine.arena({ file: `${at}.mapped`, bytes: 8 * MIB });
    const content = new Random(9).bytes(2 * MIB + 77);
    const view = mapped.view(0, content.length);
    view.set(content);
    const file = await engine.openFile(at, "a");
    await file.write(view);
    await file.close();
    assert.ok(readFileSync(at).equals(content));
    const fd = openSync(at, "r");
    undoing(t, () => closeSync(fd));
    const other = mapped.view(4 * MIB + 5, content.length);
    const shared = await engine.openFile({ fd });
    const { bytesRead } = await shared.read(other);
    await shared.close();
    assert.equal(bytesRead, content.length);
    assert.ok(Buffer.from(content).equals(other));
  });

  test(`${scheme}: as long as the descriptor has no other user, calls at the own position are direct`, {
    skip,
  }, async (t) => {
    const { engine, arena, at } = await start(t, scheme);
    const file = await engine.openFile(at, "w+");
    if (!file.direct) return t.skip("machine: scratch files without direct I/O");
    const block = arena.alloc(65536).fill(1);
    for (let i = 0; i < 4; i++) await file.write(block);
    await file.writeFile(Buffer.alloc(MIB, 2));
    const reader = await engine.openFile(at);
    for (let i = 0; i < 4; i++) await reader.read(block);
    assert.equal(engine.stats().buffered, 0);
    void reader.fd;
    await reader.read(block);
    assert.equal(engine.stats().buffered, 1);
  });

  test(`${scheme}: a write that stops in the middle has moved the position by what was written`, {
    skip,
  }, async (t) => {
    const file = path.join(scratchDirectory(t), "limited");
    const source = `${opening}
      const arena = await engine.arena({ bytes: 4 << 20 });
      const results = [];
      for (const memory of [new Uint8Array(2 << 20), arena.alloc(2 << 20)]) {
        for (const shared of [false, true]) {
          const file = await engine.openFile(process.env.FILE, "w+");
          if (shared) file.fd;
          const error = await file.write(memory).catch((error) => error);
          const tail = await file.write("tail").catch((error) => error);
          results.push([error.code, error.bytesWritten, tail.code, (await file.stat()).size]);
          const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
          results.push(String(buffer) === "tail");
          await file.close();
        }
      }
      process.stdout.write(JSON.stringify(results));
      process.exit(results.every((r) => r === false || String(r) === "EFBIG,1048576,EFBIG,1048576") ? 0 : 1);`;
    const wrapper = ["sh", "-c", `trap '' XFSZ; exec prlimit --fsize=${MIB} "$@"`, "sh"];
    const { code, stdout, stderr } = await runModule(source, { wrapper, env: { FILE: file } });
    assert.equal(code, 0, stdout + stderr);
  });

  test(`${scheme}: records that two Files append stay whole, however long`, { skip }, async (t) => {
    const { engine, arena, at } = await start(t, scheme);
    const bytes = 3 * MIB + 1;
    const records: [string, (file: File) => Promise<unknown>][] = [
      ["1", (file) => file.write(Buffer.alloc(bytes, "1"))],
      ["2", (file) => file.write(arena.alloc(bytes).fill(0x32))],
      ["3", (file) => file.writev([Buffer.alloc(MIB, "3"), arena.alloc(MIB).fill(0x33), Buffer.alloc(MIB + 1, "3")])],
      ["4", (file) => file.write(Buffer.alloc(bytes, "4"), { position: 0 })],
    ];
    const files = await Promise.all(records.map(() => engine.openFile(at, "a")));
    await Promise.all(records.map(([, write], i) => write(files[i]!)));
    const content = readFileSync(at);
    assert.equal(content.length, 4 * bytes);
    const order = [0, 1, 2, 3].map((i) => String.fromCharCode(content[i * bytes]!));
    for (const [i, name] of order.entries())
      assert.ok(content.subarray(i * bytes, (i + 1) * bytes).equals(Buffer.alloc(bytes, name)), `record ${name}`);
    assert.deepEqual([...order].sort(), ["1", "2", "3", "4"]);
  });

  test(`${scheme}: a long read at the own position of "a+" returns all that is there`, { skip }, async (t) => {
    const { engine, arena, at } = await start(t, scheme);
    const content = Buffer.from(new Random(5).bytes(2 * MIB + 777));
    writeFileSync(at, content);
    for (const memory of [Buffer.alloc(3 * MIB), arena.alloc(3 * MIB)]) {
      const file = await engine.openFile(at, "a+");
      const { bytesRead } = await file.read(memory);
      assert.equal(bytesRead, content.length);
      assert.ok(content.equals(memory.subarray(0, bytesRead)));
      await file.close();
    }
  });

  test(`${scheme}: a vector at the own position isn't interrupted by later calls`, { skip }, async (t) => {
    const { engine, at } = await start(t, scheme);
    const file = await engine.openFile(at, "w");
    await Promise.all([file.writev([Buffer.from("a"), Buffer.from("b"), Buffer.from("c")]), file.write("d")]);
    await file.close();
    assert.equal(readFileSync(at, "utf8"), "abcd");
  });

  test(`${scheme}: files of /proc that are written only at their own position, as by node:fs`, { skip }, async (t) => {
    const { engine } = await start(t, scheme);
    const comm = readFileSync("/proc/self/comm");
    undoing(t, () => writeFileSync("/proc/self/comm", comm));
    const file = await engine.openFile("/proc/self/comm", "r+");
    const theirs = await openByNode("/proc/self/comm", "r+");
    undoing(t, () => theirs.close());
    await file.write("pinless-test");
    assert.equal(readFileSync("/proc/self/comm", "utf8"), "pinless-test\n");
    const refused = await theirs.write("x", 0).catch((error) => error.code);
    assert.equal(await file.write("x", 0).catch((error) => error.code), refused);
    assert.equal(String((await file.readFile()) as Buffer), String(await theirs.readFile()));
  });

  test(`${scheme}: devices return all requested bytes`, { skip }, async (t) => {
    const { engine, arena } = await start(t, scheme);
    for (const name of ["/dev/zero", "/dev/full", "/dev/urandom"]) {
      const file = await engine.openFile(name);
      for (const memory of [Buffer.alloc(200_000, 1), arena.alloc(200_000).fill(1)]) {
        assert.equal((await file.read(memory)).bytesRead, 200_000, name);
        assert.ok(
          memory.subarray(190_000).some((byte) => byte !== 1),
          name,
        );
        assert.equal((await file.read(memory, { position: 5 })).bytesRead, 200_000, name);
      }
      await file.close();
    }
    const full = await engine.openFile("/dev/full", "w");
    await assert.rejects(full.write("x"), { code: "ENOSPC" });
    const nothing = await engine.openFile("/dev/null", "r+");
    assert.equal((await nothing.write(Buffer.alloc(3 * MIB))).bytesWritten, 3 * MIB);
    assert.equal((await nothing.read(Buffer.alloc(10))).bytesRead, 0);
    const directory = await engine.openFile("/");
    await assert.rejects(directory.read(Buffer.alloc(10)), { code: "EISDIR" });
  });
}
