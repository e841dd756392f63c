// Errors of calls that can't be done.
import assert from "node:assert/strict";
import { chmodSync, readFileSync, statfsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { Engine, type EngineOptions, ERROR_CODES } from "../../dist/index.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { asOrdinaryUser, runModule } from "../support/children.js";
import { ext4, needsRoot, tmpfs } from "../support/disks.js";
import { scratchDirectory, withSetting } from "../support/undo.js";

const MIB = 1 << 20;
const NODE_MAJOR = Number.parseInt(process.versions.node, 10);

test("Engine.open refuses invalid options, each by name and with the values that it takes", async () => {
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ scheme: "uring" }, /option scheme is "uring"; it takes "auto", "io_uring"/],
    [{ pin: "forever" }, /option pin is "forever"; it takes "lease", "lifetime", "per-io"/],
    [{ depth: 0 }, /option depth is 0; it takes a whole number from 1 to 4096/],
    [{ depth: 4097 }, /option depth is 4097/],
    [{ depth: 1.5 }, /option depth is 1.5/],
    [{ depth: "8" }, /option depth is "8"/],
    [{ lease: { chunk: 4096 } }, /option lease.chunk is 4096; it takes a power of two from 65536 to 2097152/],
    [{ lease: { chunk: 100_000 } }, /option lease.chunk is 100000/],
    [{ lease: { chunk: 4 * MIB } }, /option lease.chunk is 4194304/],
    [{ lease: { idle: 0 } }, /option lease.idle is 0; it takes milliseconds/],
    [{ lease: { idle: Number.NaN } }, /option lease.idle is NaN/],
    [{ lease: { max: -1 } }, /option lease.max is -1/],
    [{ lease: { max: Number.POSITIVE_INFINITY } }, /option lease.max is Infinity/],
    [{ lease: { budget: MIB } }, /option lease.budget is 1048576; it takes bytes, at least one chunk \(2097152\)/],
    [{ lease: { chunk: 65536, budget: 65535 } }, /option lease.budget is 65535/],
    [{ lease: { budget: Number.NaN } }, /option lease.budget is NaN/],
  ];
  for (const [options, message] of wrong)
    await assert.rejects(Engine.open(options as EngineOptions), { code: "ERR_PINLESS_OPTION", message });
  await (await Engine.open({ lease: { chunk: 65536, budget: 65536 }, depth: 1 })).close();
  await (await Engine.open({ depth: 4096 })).close();
});

test("Unknown options, and values that aren't objects, are errors with the names of all options", async () => {
  const wrong: [unknown, RegExp][] = [
    [{ dept: 1 }, /Engine.open has no option "dept"; it takes scheme, pin, depth, lease, events/],
    [{ lease: { chunks: 65536 } }, /Engine.open's lease has no option "chunks"; it takes chunk, idle, max, budget/],
    [{ lease: { budgetBytes: MIB } }, /Engine.open's lease has no option "budgetBytes"/],
    [{ events: { uffd: false } }, /Engine.open's events has no option "uffd"; it takes userfaultfd, pressure/],
    [null, /Engine.open takes an object with scheme, .*Received null/],
    [8, /Engine.open takes an object .*Received 8/],
    [[], /Engine.open takes an object .*Received an array/],
    [{ lease: null }, /Engine.open's lease takes an object .*Received null/],
    [{ lease: 65536 }, /Engine.open's lease takes an object .*Received 65536/],
    [{ events: "off" }, /Engine.open's events takes an object .*Received "off"/],
  ];
  for (const [options, message] of wrong)
    await assert.rejects(Engine.open(options as EngineOptions), { code: "ERR_PINLESS_OPTION", message });
  const engine = await Engine.open({ scheme: "direct" });
  const code = "ERR_PINLESS_OPTION";
  for (const [options, message] of [
    [
      { bytes: MIB, hugepages: false },
      /engine.arena has no option "hugepages"; it takes bytes, hugePages, inherit, shared, file/,
    ],
    [{ bytes: MIB, hugePages: 1 }, /option hugePages is 1; it takes true or false/],
    [{ bytes: MIB, inherit: "no" }, /option inherit is "no"/],
    [{ file: "x", bytes: MIB, hugePages: true }, /engine.arena of a file has no option "hugePages"/],
    [{ file: "x", inherit: 0 }, /option inherit is 0/],
  ] as [never, RegExp][])
    await assert.rejects(engine.arena(options), { code, message });
  const arena = await engine.arena({ bytes: MIB });
  await assert.rejects(arena.discard(undefined, { lazy: true } as never), { code, message: /no option "lazy"/ });
  await assert.rejects(arena.discard(undefined, { lazily: 1 } as never), { code, message: /option lazily is 1/ });
  await assert.rejects(arena.migrate({ node: 0, nodes: 1 } as never), { code, message: /no option "nodes"/ });
  await assert.rejects(arena.migrate(0 as never), { code, message: /arena.migrate takes an object .*Received 0/ });
  await engine.close();
});

test("new Engine() is an error that says how engines are made", () => {
  assert.throws(() => new (Engine as unknown as new () => Engine)(), {
    code: "ERR_PINLESS_UNSUPPORTED",
    message: /await Engine.open/,
  });
});

test("ERROR_CODES lists all codes that pinless throws", () => {
  for (const [code, text] of Object.entries(ERROR_CODES)) {
    assert.match(code, /^ERR_PINLESS_[A-Z_]+$/);
    assert.ok(text.length > 10);
  }
});

test("Engine.openFile of a missing file, a directory or a forbidden file", { skip: needsRoot }, async (t) => {
  const directory = scratchDirectory(t);
  chmodSync(directory, 0o755);
  const [secret, readable] = [path.join(directory, "secret"), path.join(directory, "readable")];
  writeFileSync(secret, "x", { mode: 0o600 });
  writeFileSync(readable, numberedBlocks(1), { mode: 0o644 });
  const source = `
    import { Engine } from PINLESS;
    const [directory, secret, readable] = process.argv.slice(1);
    const engine = await Engine.open();
    const said = [];
    const [none, fresh] = [directory + "/none", directory + "/new"];
    for (const [path, flags] of [[secret, "r"], [readable, "r+"], [none, "r"], [fresh, "w"], [directory, "r+"]])
      await engine.openFile(path, flags).catch(({ code, syscall, path }) => said.push([code, syscall, path]));
    const file = await engine.openFile(readable);
    await file.write("x").catch(({ code, syscall }) => said.push([code, syscall]));
    const { bytesRead } = await file.read(Buffer.alloc(4096));
    said.push(bytesRead);
    await engine.close();
    console.log(JSON.stringify(said));
  `;
  const wrapper = asOrdinaryUser(8 * MIB);
  const { stdout, stderr } = await runModule(source, { wrapper, args: [directory, secret, readable] });
  assert.deepEqual(JSON.parse(stdout || stderr), [
    ["EACCES", "open", secret],
    ["EACCES", "open", readable],
    ["ENOENT", "open", `${directory}/none`],
    ["EACCES", "open", `${directory}/new`],
    ["EISDIR", "open", directory],
    ["EBADF", "write"],
    4096,
  ]);
});

/** Opens an engine in a child, and says what came of it. */
const OPENING = `
  const { Engine } = await import(PINLESS);
  const say = (what) => console.log(JSON.stringify(what));
  try {
    const engine = await Engine.open(JSON.parse(process.argv[1] ?? "{}"));
    const arena = await engine.arena({ bytes: 1 << 20 });
    arena.alloc(1);
    await engine.close();
    say({ scheme: engine.scheme, degraded: engine.stats().degraded });
  } catch ({ name, code, message }) {
    say({ name, code, message });
  }
`;

interface Opened {
  readonly scheme?: string;
  readonly degraded?: readonly string[];
  readonly code?: string;
  readonly message?: string;
}

async function opening(node: readonly string[], options: object = {}, wrapper: string[] = []): Promise<Opened> {
  const { code, signal, stdout, stderr } = await runModule(OPENING, { node, wrapper, args: [JSON.stringify(options)] });
  assert.deepEqual([code, signal], [0, null], stderr);
  return JSON.parse(stdout);
}

test("Engine.open with a named scheme uses that scheme, or says why it can't", async () => {
  for (const scheme of ["io_uring", "aio", "direct"]) {
    const said = await opening([], { scheme });
    if (said.code === undefined || scheme === "io_uring") assert.equal(said.scheme, scheme);
    else {
      assert.equal(said.code, "ERR_PINLESS_UNSUPPORTED");
      assert.match(said.message!, new RegExp(scheme));
    }
  }
  assert.equal((await opening([])).scheme, "io_uring");
});

test("Engine.open says what to change where io_uring is switched off", { skip: needsRoot }, async (t) => {
  // For everyone but root: 2 would also be in the way of whatever else runs here.
  await withSetting(t, "/proc/sys/kernel/io_uring_disabled", "1");
  const reason = /kernel\.io_uring_disabled is 1; 0 allows it/;
  const wrapper = asOrdinaryUser(8 * MIB);
  const named = await opening([], { scheme: "io_uring" }, wrapper);
  assert.equal(named.code, "ERR_PINLESS_UNSUPPORTED");
  assert.match(named.message!, reason);
  // Another scheme may take its place, and says so.
  const auto = await opening([], {}, wrapper);
  if (auto.code !== undefined) assert.equal(auto.code, "ERR_PINLESS_UNSUPPORTED");
  assert.match(auto.message ?? auto.degraded!.join("\n"), reason);
});

test("Engine.open under Node's permission model says which option allows add-ons", async () => {
  const permission = NODE_MAJOR < 22 ? "--experimental-permission" : "--permission";
  const node = [permission, "--allow-fs-read=*", "--allow-worker", "--no-warnings"];
  const said = await opening(node);
  assert.equal(said.code, "ERR_PINLESS_UNSUPPORTED");
  assert.match(said.message!, /--allow-addons/);
  const allowed = [...node, "--allow-addons", "--allow-fs-write=*"];
  const { scheme, degraded } = await opening(allowed);
  if (NODE_MAJOR < 25) {
    assert.equal(scheme, "io_uring");
    return;
  }
  // From 25 on it also rules over sockets.
  assert.equal(scheme, "direct");
  assert.match(degraded!.join("\n"), /--allow-net/);
  for (const scheme of ["io_uring", "aio"] as const) {
    const named = await opening(allowed, { scheme });
    assert.equal(named.code, "ERR_PINLESS_UNSUPPORTED");
    assert.match(named.message!, new RegExp(`${scheme}.*--allow-net`));
  }
  assert.equal((await opening([...allowed, "--allow-net"])).scheme, "io_uring");
});

test("Engine under --jitless, which has no WebAssembly, says so", async () => {
  const said = await opening(["--jitless"]);
  assert.equal(said.code, "ERR_PINLESS_UNSUPPORTED");
  assert.match(said.message!, /--jitless/);
});

test("Engine.arena larger than the memory fails with ENOMEM, and leaves the engine usable", async () => {
  const engine = await Engine.open();
  try {
    await assert.rejects(engine.arena({ bytes: 2 ** 50 }), { code: "ENOMEM" });
    const arena = await engine.arena({ bytes: 2 * MIB });
    await assert.rejects(arena.grow(2 ** 50), { code: "ENOMEM" });
    arena.alloc(2 * MIB).fill(1);
    assert.equal(arena.bytes, 2 * MIB);
  } finally {
    await engine.close();
  }
});

for (const [name, make] of [
  ["ext4", ext4],
  ["tmpfs", tmpfs],
] as const) {
  test(`File.write on ${name} that fills up: ENOSPC, and bytesWritten is the number of bytes that the file has`, {
    skip: needsRoot,
  }, async (t) => {
    const mount = make(t, 16 * MIB);
    const content = numberedBlocks(8 * 1024);
    const engine = await Engine.open({ depth: 8 });
    try {
      const arena = await engine.arena({ bytes: 34 * MIB });
      const memory = arena.alloc(content.byteLength);
      memory.set(content);
      for (const [kind, buffer, position] of [
        ["arena memory", memory, 0],
        ["memory of the heap", content, 0],
        ["an unaligned place", content, 5],
        ["arena memory at an unaligned place", memory, 5],
      ] as const) {
        const file = await engine.openFile(path.join(mount, "file"), "w");
        let bytesWritten = -1;
        await assert.rejects(
          file.write(buffer, { position }),
          (error: NodeJS.ErrnoException & { bytesWritten: number }) => {
            assert.deepEqual([error.code, error.errno, error.syscall], ["ENOSPC", -28, "write"], kind);
            bytesWritten = error.bytesWritten;
            return true;
          },
        );
        await file.close();
        // A device write in one piece may have failed as a whole.
        const least = kind === "arena memory" ? 0 : MIB;
        assert.ok(bytesWritten >= least && bytesWritten <= 16 * MIB, `${kind}: ${bytesWritten} bytes written`);
        const held = readFileSync(path.join(mount, "file"));
        assert.ok(held.length >= position + bytesWritten, `${kind}: ${bytesWritten} bytes of ${held.length} written`);
        const whole = bytesWritten - (bytesWritten % BLOCK_BYTES);
        assert.equal(wrongBlocks(Uint8Array.from(held.subarray(position, position + whole)), 0), null, kind);
        const { bavail, bsize } = statfsSync(mount);
        assert.ok(least === 0 || bavail * bsize < 2 * MIB, `${kind}: ${bavail * bsize} bytes were left`);
        await engine.openFile(path.join(mount, "file"), "w").then((emptied) => emptied.close());
      }
      // As vectors, and by submit.
      const file = await engine.openFile(path.join(mount, "file"), "w");
      const quarters = [0, 1, 2, 3].map((i) => memory.subarray(i * 8 * MIB, (i + 1) * 8 * MIB));
      await assert.rejects(file.writev(quarters, 0), (error: NodeJS.ErrnoException & { bytesWritten: number }) => {
        assert.equal(error.code, "ENOSPC");
        assert.ok(
          error.bytesWritten >= 8 * MIB && error.bytesWritten <= 16 * MIB,
          `${error.bytesWritten} bytes written`,
        );
        return true;
      });
      const answered = new Promise((resolve) => file.submit("write", quarters[0]!, 20 * MIB, resolve));
      assert.equal(await answered, -28);
      await file.close();
    } finally {
      await engine.close();
    }
  });
}
