// Which scheme "auto" takes where the kernel refuses the better ones, and what it says of that.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { aioSyscalls, SYSCALLS } from "../../dist/abi/numbers.js";
import { runModule } from "../support/children.js";
import { needsRoot } from "../support/disks.js";
import { refusing } from "../support/seccomp.js";
import { undoingByShell } from "../support/undo.js";

const SETTING = "/proc/sys/kernel/io_uring_disabled";

/** Opens an engine, reads by it, and prints what ran. */
const SOURCE = `
  import { Engine } from PINLESS;
  const engine = await Engine.open();
  const arena = await engine.arena({ bytes: 2 << 20 });
  const file = await engine.openFile("/proc/self/exe");
  const { buffer } = await file.read(arena.alloc(4096), { position: 0 });
  const named = await Engine.open({ scheme: "io_uring" }).catch(({ code, message }) => ({ code, message }));
  console.log(JSON.stringify({
    scheme: engine.scheme,
    pin: engine.pin,
    degraded: engine.stats().degraded,
    magic: Buffer.from(buffer.buffer, buffer.byteOffset + 1, 3).toString(),
    named,
  }));
  await engine.close();
`;

interface Ran {
  readonly scheme: string;
  readonly pin: string;
  readonly degraded: string[];
  readonly magic: string;
  readonly named: { code: string; message: string };
}

async function run(source: string): Promise<Ran> {
  const { code, stdout, stderr } = await runModule(source);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

test("auto takes aio where io_uring is switched off by sysctl, and says which", { skip: needsRoot }, async (t) => {
  const before = readFileSync(SETTING, "utf8").trim();
  undoingByShell(t, `echo ${before} > ${SETTING}`);
  writeFileSync(SETTING, "2");
  const { scheme, pin, degraded, magic, named } = await run(SOURCE);
  writeFileSync(SETTING, before);
  assert.deepEqual([scheme, pin, magic], ["aio", "per-io", "ELF"]);
  const why = "io_uring is switched off: sysctl kernel.io_uring_disabled is 2; 0 allows it.";
  assert.ok(degraded.includes(why), degraded.join("\n"));
  assert.ok(degraded.some((sentence) => sentence.includes('pin "lease"')));
  assert.deepEqual(named, { code: "ERR_PINLESS_UNSUPPORTED", message: why });
});

test("auto takes aio where a filter hides io_uring, and says so", async () => {
  const { scheme, degraded, magic, named } = await run(refusing(38, SYSCALLS.__NR_io_uring_setup) + SOURCE);
  assert.deepEqual([scheme, magic], ["aio", "ELF"]);
  assert.match(degraded.join("\n"), /seccomp.*io_uring_setup/);
  assert.equal(named.code, "ERR_PINLESS_UNSUPPORTED");
});

test("auto takes direct where a filter hides io_uring and Linux AIO, and names both", async () => {
  const { scheme, degraded, magic } = await run(
    refusing(1, SYSCALLS.__NR_io_uring_setup, aioSyscalls(process.arch).__NR_io_setup) + SOURCE,
  );
  assert.deepEqual([scheme, magic], ["direct", "ELF"]);
  assert.match(degraded.join("\n"), /seccomp.*io_uring_setup/);
  assert.match(degraded.join("\n"), /seccomp.*io_setup, io_submit/);
});
