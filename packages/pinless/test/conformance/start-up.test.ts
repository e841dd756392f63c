// A filter that refuses one system call of those that a scheme needs: an engine opens all the same, works, and says
// which call it is.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { aioSyscalls, SYSCALLS } from "../../dist/abi/numbers.js";
import { runModule } from "../support/children.js";
import { ioUringOff } from "../support/io-uring.js";
import { descriptorsOf } from "../support/proc.js";
import { rounds } from "../support/rounds.js";
import { refusing } from "../support/seccomp.js";

/**
 * Opens an engine; reads around the page cache, through it and from a pipe that never gives anything; and prints what
 * ran.
 */
const SOURCE = `
  import { execFileSync } from "node:child_process";
  import { mkdtempSync, rmSync } from "node:fs";
  import { Engine } from PINLESS;
  const [scheme, pin] = process.argv.slice(-2);
  const directory = mkdtempSync("/tmp/pinless-test-");
  execFileSync("mkfifo", [directory + "/pipe"]);
  const failed = ({ code, message }) => { console.log(JSON.stringify({ code, message })); process.exit(); };
  const engine = await Engine.open({ scheme, pin }).catch(failed);
  const arena = await engine.arena({ bytes: 2 << 20 });
  const file = await engine.openFile(process.execPath);
  const magic = async (view, position) =>
    (await file.read(view, { position })).buffer.subarray(1 - position, 4 - position);
  const read = [];
  for (const view of [arena.alloc(4096), new Uint8Array(1000)]) read.push(Buffer.from(await magic(view, 0)).toString());
  read.push(Buffer.from(await magic(new Uint8Array(1000), 1)).toString());
  const many = Array.from({ length: 64 }, (_, i) => file.read(arena.alloc(4096), { position: i * 4096 }));
  for (const { bytesRead } of await Promise.all(many)) if (bytesRead !== 4096) throw new Error("short");
  if (engine.scheme !== "direct") {
    const pipe = await engine.openFile(directory + "/pipe", "r+");
    const pending = pipe.read(new Uint8Array(1)).catch(({ code }) => code);
    await new Promise(setImmediate);
    await pipe.close();
    read.push(await pending);
  }
  const { scheme: taken, pin: by } = engine;
  console.log(JSON.stringify({ scheme: taken, pin: by, degraded: engine.stats().degraded.join("\\n"), read }));
  await engine.close();
  rmSync(directory, { recursive: true });
`;

interface Ran {
  readonly scheme: string;
  readonly pin: string;
  readonly degraded: string;
  readonly read: string[];
  readonly code?: string;
  readonly message?: string;
}

async function open(refused: string, scheme: string, pin = "lease"): Promise<Ran> {
  const { code, stdout, stderr } = await runModule(refused + SOURCE, { args: [scheme, pin] });
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

const CALLS = { ...SYSCALLS, ...aioSyscalls(process.arch) };
const READ = ["ELF", "ELF", "ELF"];
const EPERM = 1;
const ENOSYS = 38;
const NAMES = {
  io_uring_setup: "aio",
  io_uring_enter: "aio",
  io_uring_register: "io_uring",
  io_setup: "direct",
  io_submit: "direct",
  io_getevents: "aio",
  io_cancel: "direct",
  io_destroy: "direct",
} as const;

/** Libuv has a ring of its own. */
const nodeHasRing = descriptorsOf("anon_inode:[io_uring]") > 0;
const whyNotEntered =
  "machine: this Node, which has a ring of its own, ends the process where io_uring_enter is refused";

// A container's filter refuses with either. The engine takes them for the same, so `npm test` tries one.
for (const [name, expected] of Object.entries(NAMES))
  for (const errno of [EPERM, ENOSYS].slice(0, rounds(1, 2))) {
    const ofRing = name.startsWith("io_uring");
    const skip = name === "io_uring_enter" && nodeHasRing ? whyNotEntered : ofRing ? ioUringOff() : false;
    test(`auto without ${name} (${errno === EPERM ? "EPERM" : "ENOSYS"}): ${expected}, and names the refused call`, {
      skip,
    }, async () => {
      const number = CALLS[`__NR_${name}` as keyof typeof CALLS];
      const calls = ofRing ? [number] : [CALLS.__NR_io_uring_setup, number];
      const { scheme, pin, degraded, read } = await open(refusing(errno, ...calls), "auto");
      const works = expected === "direct" ? READ : [...READ, "ECANCELED"];
      assert.deepEqual([scheme, pin, read], [expected, "per-io", works]);
      // The completions of AIO are read from a ring in memory.
      if (name !== "io_getevents") assert.match(degraded, new RegExp(`seccomp filter[^.]*\\b${name}\\b`));
    });
  }

for (const [scheme, warm] of [
  ["auto", false],
  ["auto", true],
  ["aio", true],
] as const)
  test(`Engine.open (${scheme}) with few descriptors${warm ? "" : " from the start"}: EMFILE or open, and open later`, {
    skip: scheme === "auto" ? ioUringOff() : false,
  }, async () => {
    const source = `
      import { closeSync, openSync } from "node:fs";
      import { Engine } from PINLESS;
      const open = async () => {
        try {
          const engine = await Engine.open({ scheme: ${JSON.stringify(scheme)} });
          const said = [engine.scheme, engine.stats().degraded.join("\\n")];
          await engine.close();
          return said;
        } catch ({ code, message }) {
          return [code, message];
        }
      };
      if (${warm}) await open();
      const all = [];
      for (let left = 0; left < 24; left++) {
        const fds = [];
        try { for (;;) fds.push(openSync("/dev/null")); } catch {}
        for (let i = 0; i < left; i++) closeSync(fds.pop());
        all.push(await open());
        for (const fd of fds) closeSync(fd);
      }
      console.log(JSON.stringify([...all, await open()]));
    `;
    const { code, stdout, stderr } = await runModule(source, { wrapper: ["prlimit", "--nofile=100:100"] });
    assert.equal(code, 0, stderr);
    const all: [string, string][] = JSON.parse(stdout);
    const [first, last] = [all[0], all.at(-1)];
    assert.deepEqual([first?.[0], last?.[0]], ["EMFILE", scheme === "auto" ? "io_uring" : scheme]);
    for (const [got, said] of all) {
      assert.ok(got === "EMFILE" || got === last![0], got);
      if (got === "EMFILE") assert.match(said, /no descriptor left.*RLIMIT_NOFILE.*ulimit -n/);
      assert.doesNotMatch(said, /CONFIG_PSI|5\.19|6\.13|seccomp/);
    }
  });

test("Engine.open in Bun is refused at once, with the reason", async () => {
  const { code, stdout, stderr } = await runModule(`
    Object.defineProperty(process, "versions", { value: { ...process.versions, bun: "1.4.5" } });
    const { Engine } = await import(PINLESS);
    await Engine.open().catch(({ code, message }) => console.log(code, message));
  `);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^ERR_PINLESS_UNSUPPORTED .*Bun \(this is 1\.4\.5\).*Node or Deno/);
});

test("Node's permission model: errors say what it hides, and the option to start node with", async () => {
  const flag = process.allowedNodeEnvironmentFlags.has("--permission") ? "--permission" : "--experimental-permission";
  const net = process.allowedNodeEnvironmentFlags.has("--allow-net") ? ["--allow-net"] : [];
  const root = fileURLToPath(new URL("../../../../", import.meta.url));
  const { code, stdout, stderr } = await runModule(
    `
      import { Engine } from PINLESS;
      const engine = await Engine.open({ events: { pressure: true } });
      const arena = await engine.arena({ bytes: 2 << 20 });
      const file = await engine.openFile(${JSON.stringify(`${root}package.json`)});
      const { bytesRead } = await file.read(arena.alloc(4096), { position: 0 });
      console.log(JSON.stringify({ pin: engine.pin, bytesRead, degraded: engine.stats().degraded.join("\\n") }));
      await engine.close();
    `,
    { node: [flag, "--allow-addons", "--allow-worker", `--allow-fs-read=${root}*`, ...net] },
  );
  assert.equal(code, 0, stderr);
  const { pin, bytesRead, degraded } = JSON.parse(stdout);
  assert.ok(bytesRead > 0);
  // Without leases nothing is given back for want of memory.
  if (pin === "lease")
    assert.match(degraded, /permission model hides \/proc\/pressure\/memory.*--allow-fs-read=\/proc/);
  assert.match(degraded, /couldn't be opened for direct I\/O.*--allow-fs-read/);
  assert.doesNotMatch(degraded, /CONFIG_PSI/);
});
