// What is missing for a moment: the call that meets it says what to change, nothing stays behind, and the next one works.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { numberedBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { scratchDirectory } from "../support/undo.js";

const LIMIT = 120;

/** In a child: takes all descriptors but `leave`, and gives them back. */
const DESCRIPTORS = `
  import fs from "node:fs";
  const taken = [];
  const fill = (leave = 0) => {
    for (;;) {
      try { taken.push(fs.openSync("/dev/null")); } catch { break; }
    }
    for (let i = 0; i < leave; i++) fs.closeSync(taken.pop());
  };
  const free = () => { for (const fd of taken.splice(0)) fs.closeSync(fd); };
  const [file, directory] = process.argv.slice(1);
  const said = [];
  const refused = async (what, run) => {
    try {
      await run();
      said.push([what, "worked"]);
    } catch ({ code, message }) {
      said.push([what, code, message]);
    }
  };
  const count = (of) => fs.readdirSync("/proc/self/" + of).length;
  const within = async (what, condition) => {
    for (const begin = Date.now(); !(await condition()); await new Promise(setImmediate))
      if (Date.now() - begin > 20_000) throw new Error(what);
  };
`;

type Said = readonly [what: string, code: string, message?: string];

async function withFewDescriptors(t: TestContext, source: string): Promise<Said[]> {
  const directory = scratchDirectory(t);
  const file = path.join(directory, "file");
  writeFileSync(file, numberedBlocks(16));
  const { code, signal, stdout, stderr } = await runModule(
    `${DESCRIPTORS}${source}; console.log(JSON.stringify(said));`,
    {
      args: [file, directory],
      wrapper: ["prlimit", `--nofile=${LIMIT}:${LIMIT}`],
    },
  );
  assert.deepEqual([code, signal], [0, null], stderr);
  return JSON.parse(stdout);
}

test("A moment without descriptors at the first open(): the next one works", async (t) => {
  const said = await withFewDescriptors(
    t,
    `
    const { open } = await import(PINLESS);
    for (let leave = 0; leave < 10; leave++) {
      fill(leave);
      await refused("open with " + leave, () => open(file));
      free();
    }
    const handle = await open(file);
    said.push(["later", String((await handle.read(Buffer.alloc(100), 0, 100, 0)).bytesRead)]);
    `,
  );
  assert.deepEqual(said.at(-1), ["later", "100"]);
  const first = said[0]!;
  assert.equal(first[1], "EMFILE");
  assert.match(first[2]!, /RLIMIT_NOFILE \(ulimit -n\)/);
});

for (const scheme of ["io_uring", "aio", "direct"]) {
  test(`A moment without descriptors at the first copied transfer, and at the first arena of a file, ${scheme}: the next work`, async (t) => {
    const said = await withFewDescriptors(
      t,
      `
      const { Engine } = await import(PINLESS);
      const engine = await Engine.open({ scheme: ${JSON.stringify(scheme)} });
      const handle = await engine.openFile(file, "r+");
      const mapped = await engine.openFile(directory + "/mapped", "w+");
      fill();
      await refused("read", () => handle.read(Buffer.alloc(100), 0, 100, 0));
      await refused("write", () => handle.write(Buffer.alloc(100), 0, 100, 0));
      await refused("arena of a file", () => engine.arena({ file: mapped, bytes: 4096 }));
      free();
      await refused("later", () => handle.read(Buffer.alloc(100), 0, 100, 0));
      await refused("later", () => handle.write(Buffer.alloc(100), 0, 100, 0));
      await refused("later", () => engine.arena({ file: mapped, bytes: 4096 }));
      await engine.close();
      `,
    );
    // Some schemes need no descriptor for a call; what works, works.
    assert.deepEqual(said.slice(-3), Array(3).fill(["later", "worked"]));
    assert.ok(
      said.some(([what, code]) => what === "arena of a file" && code === "EMFILE"),
      JSON.stringify(said),
    );
  });
}

test("close() goes on to its end where a file can't be closed, and says what failed; so does the second", async (t) => {
  const said = await withFewDescriptors(
    t,
    `
    const { Engine } = await import(PINLESS);
    const links = () => fs.readdirSync("/proc/self/fd").flatMap((fd) => { try { return [fs.readlinkSync("/proc/self/fd/" + fd)]; } catch { return []; } });
    const before = links().filter((link) => link.includes("io_uring")).length;
    const engine = await Engine.open();
    const arena = await engine.arena({ bytes: 1 << 20 });
    const [one, two, three] = await Promise.all([1, 2, 3].map(() => engine.openFile(file)));
    await two.read(arena.alloc(4096), { position: 0 });
    fs.closeSync(one.fd);
    await refused("close", () => engine.close());
    await refused("again", () => engine.close());
    await within("the ring's end", () => links().filter((link) => link.includes("io_uring")).length <= before);
    said.push(["left open", String(links().filter((link) => link === file).length)]);
    try { arena.alloc(1); } catch ({ code }) { said.push(["arena", code]); }
    const another = await Engine.open();
    const files = await Promise.all([1, 2].map(() => another.openFile(file)));
    for (const each of files) fs.closeSync(each.fd);
    const failed = await another.close().catch((error) => error);
    said.push(["both", failed.code, failed.name + " " + failed.errors.map(({ code }) => code)]);
    `,
  );
  assert.deepEqual(
    said.map(([what, code, message]) => (what === "both" ? [what, code, message] : [what, code])),
    [
      ["close", "EBADF"],
      ["again", "EBADF"],
      ["left open", "0"],
      ["arena", "ERR_PINLESS_CLOSED"],
      ["both", "EBADF", "AggregateError EBADF,EBADF"],
    ],
  );
});
