// Choice of "auto" where the kernel refuses the better schemes, and the reasons that it reports.
import assert from "node:assert/strict";
import { test } from "node:test";
import { aioSyscalls, SYSCALLS } from "../../dist/abi/numbers.js";
import { Engine } from "../../dist/index.js";
import { tooMuchAio, useUpAio } from "../support/aio.js";
import { asOrdinaryUser, runModule } from "../support/children.js";
import { needsRoot } from "../support/disks.js";
import { refusing } from "../support/seccomp.js";
import { withSetting } from "../support/undo.js";

const NO_ROOM = /fs\.aio-max-nr is \d+, .*fs\.aio-nr.*raise it, or choose a smaller depth/;
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

async function run(source: string, wrapper: readonly string[] = []): Promise<Ran> {
  const { code, stdout, stderr } = await runModule(source, { wrapper });
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

for (const [value, who] of [
  ["2", "root"],
  ["2", "an ordinary user"],
  ["1", "an ordinary user"],
] as const) {
  test(`auto takes aio where io_uring is switched off for ${who} (${value}), and says which setting`, {
    skip: needsRoot,
  }, async (t) => {
    await withSetting(t, SETTING, value);
    const { scheme, pin, degraded, magic, named } = await run(SOURCE, who === "root" ? [] : asOrdinaryUser(8 << 20));
    assert.deepEqual([scheme, pin, magic], ["aio", "per-io", "ELF"]);
    const why = `io_uring is switched off: sysctl kernel.io_uring_disabled is ${value}; 0 allows it.`;
    assert.ok(degraded.includes(why), degraded.join("\n"));
    assert.ok(degraded.some((sentence) => sentence.includes('pin "lease"')));
    assert.deepEqual(named, { code: "ERR_PINLESS_UNSUPPORTED", message: why });
  });
}

test("auto takes io_uring for root where the setting allows it to root only", { skip: needsRoot }, async (t) => {
  await withSetting(t, SETTING, "1");
  assert.equal((await run(SOURCE)).scheme, "io_uring");
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
  // Where it's switched off as well, that's what it says.
  assert.match(degraded.join("\n"), /seccomp.*io_uring_setup|kernel\.io_uring_disabled is 2/);
  assert.match(degraded.join("\n"), /seccomp.*io_setup, io_submit/);
});

test("auto takes direct where there's no io_uring and fs.aio-max-nr is used up; named, aio says what to change", {
  skip: tooMuchAio,
}, async (t) => {
  await useUpAio(t, 0);
  const { scheme, degraded, magic } = await run(refusing(1, SYSCALLS.__NR_io_uring_setup) + SOURCE);
  assert.deepEqual([scheme, magic], ["direct", "ELF"]);
  assert.match(degraded.join("\n"), NO_ROOM);
  for (const depth of [1, 128])
    await assert.rejects(Engine.open({ scheme: "aio", depth }), { code: "ERR_PINLESS_UNSUPPORTED", message: NO_ROOM });
});

test("Engine by aio opens with the depth that fs.aio-max-nr has left, and not with more", {
  skip: tooMuchAio,
}, async (t) => {
  await useUpAio(t, 4);
  await assert.rejects(Engine.open({ scheme: "aio" }), { code: "ERR_PINLESS_UNSUPPORTED", message: NO_ROOM });
  await (await Engine.open({ scheme: "aio", depth: 4 })).close();
});
