// io_uring where the kernel can start no thread of its own: it ends with ECANCELED what needs one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { needsPidsCgroups, pidsCgroup } from "../support/cgroup.js";
import { asOrdinaryUser, type Ended, runModule } from "../support/children.js";
import { needsRoot } from "../support/disks.js";
import { ioUringOff } from "../support/io-uring.js";

/**
 * Writes where the file has no blocks yet, appends, and reads through the page cache: ext4 needs a thread for the first
 * two.
 */
const SOURCE = `
  import { mkdtempSync, readFileSync, rmSync } from "node:fs";
  import { Engine } from PINLESS;
  const directory = mkdtempSync("/tmp/pinless-test-");
  try {
    const engine = await Engine.open({ scheme: "io_uring" });
    const arena = await engine.arena({ bytes: 4 << 20 });
    const file = await engine.openFile(directory + "/file", "w+");
    const other = await engine.openFile(directory + "/other", "w+");
    // Whatever threads this process needs of its own are there by now; the ring has needed none yet.
    FORBID
    const views = Array.from({ length: 64 }, (_, i) => arena.alloc(4096).fill(i + 1));
    await Promise.all(views.map((view, i) => file.write(view, { position: 4096 * i })));
    await Promise.all(views.map((view, i) => other.write(new Uint8Array(100).fill(i + 1), { position: 100 * i })));
    let submitted = 0;
    const errnos = [];
    await new Promise((resolve) => {
      for (const [i, view] of views.entries())
        other.submit("write", view, 8192 + 4096 * i, (errno, bytes) => {
          errnos.push(errno, bytes);
          if (++submitted === views.length) resolve();
        });
    });
    const read = await Promise.all(views.map((view, i) => file.read(new Uint8Array(4096), { position: 4096 * i })));
    const { submitted: all, completed, failed, degraded } = engine.stats();
    const numbered = (bytes, from, each) =>
      views.every((_, i) => bytes.subarray(from + each * i, from + each * (i + 1)).every((b) => b === i + 1));
    const [content, others] = ["/file", "/other"].map((name) => readFileSync(directory + name));
    const isEven = (_, i) => i % 2 === 0;
    const isOdd = (_, i) => i % 2 === 1;
    console.log(JSON.stringify({
      files: [numbered(content, 0, 4096), numbered(others, 0, 100), numbered(others, 8192, 4096)],
      read: read.every(({ bytesRead, buffer }, i) => bytesRead === 4096 && buffer.every((b) => b === i + 1)),
      submitted: errnos.filter(isEven).every((errno) => errno === 0) && errnos.filter(isOdd).every((n) => n === 4096),
      counts: all === completed && failed === 0,
      degraded: degraded.join("\\n"),
    }));
    await engine.close();
  } finally {
    rmSync(directory, { recursive: true });
  }
`;

function assertDone({ code, stdout, stderr }: Ended): void {
  assert.equal(code, 0, stderr);
  const { degraded, ...said } = JSON.parse(stdout);
  assert.deepEqual(said, { files: [true, true, true], read: true, submitted: true, counts: true });
  assert.match(degraded, /couldn't start a thread \(io-wq\) for \d+ requests.*pids\.max.*RLIMIT_NPROC/);
}

test("io_uring at RLIMIT_NPROC reads and writes, and says what to raise", {
  skip: needsRoot || ioUringOff(),
}, async () => {
  const source = `import { execFileSync } from "node:child_process"; ${SOURCE}`.replace(
    "FORBID",
    'execFileSync("prlimit", ["--pid", String(process.pid), "--nproc=1:1"]);',
  );
  assertDone(await runModule(source, { wrapper: asOrdinaryUser(8 << 20) }));
});

test("io_uring at its cgroup's pids.max reads and writes, and says what to raise", {
  skip: needsPidsCgroups || ioUringOff(),
}, async (t) => {
  const { enter, limit } = pidsCgroup(t);
  const source = `import { readFileSync as text, writeFileSync as put } from "node:fs"; ${SOURCE}`.replace(
    "FORBID",
    `put(${JSON.stringify(limit)}, "1");`,
  );
  assertDone(await runModule(source, { wrapper: enter }));
});
