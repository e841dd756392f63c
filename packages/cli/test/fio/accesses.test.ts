// The I/Os of jobs, one by one: fio's own log of a job has the same.
import assert from "node:assert/strict";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { Accesses } from "../../dist/fio/accesses.js";
import { BlockMap } from "../../dist/fio/block-map.js";
import { ShiftRegister } from "../../dist/fio/block-orders.js";
import type { Access } from "../../dist/fio/job.js";
import { layOut } from "../../dist/fio/layout.js";
import { parseInvocation } from "../../dist/fio/parse.js";
import { byFio, NO_FIO } from "./judge.js";

/** Every I/O of the first of the jobs: "file direction offset bytes". */
function accessesOf(words: readonly string[], sizeOf: (file: string) => number | null = () => null): readonly string[] {
  const [job] = parseInvocation(words).jobs;
  const extents = layOut(job!, sizeOf);
  const accesses = new Accesses(job!, extents);
  const access: Access = { direction: "read", file: 0, offset: 0, bytes: 0 };
  const all: string[] = [];
  for (let loop = 0; loop < job!.loops; loop++) {
    if (loop > 0) accesses.restart();
    while (accesses.next(access))
      all.push(`${path.basename(extents[access.file]!.path)} ${access.direction} ${access.offset} ${access.bytes}`);
  }
  return all;
}

/** Jobs whose I/Os are those of fio in its order. */
const SAME = [
  "--rw=read --size=1m",
  "--rw=write --size=1000000 --bs=8k",
  "--rw=randread --size=1m",
  "--rw=randrw --size=1m --rwmixread=70",
  "--rw=rw --size=1m --io_size=3m",
  "--rw=randread --size=1m --bsrange=1k-16k",
  "--rw=read --size=1m --bsrange=2k-8k,4k-4k",
  "--rw=randread --size=1m --bssplit=4k/60:16k/30:64k/10",
  "--rw=randrw --size=1m --bssplit=4k/50:8k,16k --io_size=3m",
  "--rw=randwrite --size=1m --bsrange=3000-9000 --bs_unaligned",
  "--rw=randread --size=1m --norandommap --blockalign=512",
  "--rw=randread --size=2m --random_generator=lfsr",
  "--rw=read:4k --size=1m",
  "--rw=read:-8k --size=1m --offset=64k",
  "--rw=randread:4 --size=1m --rw_sequencer=identical",
  "--rw=randread --size=1m --percentage_random=40",
  "--rw=randread --size=1m --io_size=2600k",
  "--rw=randread --size=1m --loops=3",
  "--rw=randread --size=1m --nrfiles=3",
  "--rw=randread --size=1m --nrfiles=4 --file_service_type=random:3",
  "--rw=randread --size=1m --randseed=42",
  "--rw=randread --size=1m --allrandrepeat=1",
  "--rw=randread --filesize=100k-300k --nrfiles=3",
  "--rw=randwrite --size=1m --verify=crc32c --do_verify=0 --bsrange=4k-16k",
  "--rw=read --size=64kib --bs=,8k",
];

test("the same I/Os as fio's, in the same order", { skip: NO_FIO }, (t) => {
  for (const job of SAME) {
    const directory = scratchDirectory(t);
    const words = ["--name=t", `--directory=${directory}`, ...job.split(" ")];
    const log = path.join(directory, "log");
    byFio([...words, "--thread", "--ioengine=psync", `--write_iolog=${log}`], directory);
    const theirs = [...readFileSync(log, "utf8").matchAll(/([^ /]+ (?:read|write) \d+ \d+)$/gm)].map(
      ([, line]) => line,
    );
    assert.deepEqual(accessesOf(words), theirs, job);
  }
});

test("sizes of files that are there, and parts of them", { skip: NO_FIO }, (t) => {
  for (const job of [
    "--rw=randread --size=50%",
    "--rw=read --offset=25% --bs=12k",
    "--rw=read --size=1m --offset=1m",
  ]) {
    const directory = scratchDirectory(t);
    writeFileSync(path.join(directory, "t.0.0"), "");
    truncateSync(path.join(directory, "t.0.0"), 2 ** 20);
    const words = ["--name=t", `--directory=${directory}`, ...job.split(" ")];
    const log = path.join(directory, "log");
    byFio([...words, "--thread", "--ioengine=psync", `--write_iolog=${log}`], directory);
    const theirs = [...readFileSync(log, "utf8").matchAll(/([^ /]+ (?:read|write) \d+ \d+)$/gm)].map(
      ([, line]) => line,
    );
    assert.ok(theirs.length > 0, job);
    assert.deepEqual(
      accessesOf(words, () => 2 ** 20),
      theirs,
      job,
    );
  }
});

test("a job without randommap's exceptions touches each block once", () => {
  for (const more of ["", "--random_generator=lfsr", "--random_generator=tausworthe64", "--randrepeat=0"]) {
    const words = ["--name=t", "--rw=randread", "--size=4003k", ...more.split(" ").filter((word) => word !== "")];
    const all = accessesOf(words);
    assert.equal(all.length, 1000, more);
    assert.equal(new Set(all).size, 1000, more);
  }
});

test("distributions stay inside the file, and prefer some blocks", () => {
  for (const distribution of ["zipf:1.2", "zipf:0.8", "pareto:0.2", "normal:5", "normal:5:0.5"]) {
    const words = ["--name=t", "--rw=randread", "--size=40m", `--random_distribution=${distribution}`];
    const all = accessesOf(words);
    assert.equal(all.length, 10240, distribution);
    assert.ok(all.every((line) => Number(line.split(" ")[2]) < 40 << 20));
    // Uniform draws would find about 6,473 of 10,240 blocks.
    assert.ok(new Set(all).size < 6000, `${distribution}: ${new Set(all).size}`);
  }
});

test("with file_append a job begins where the file ends", () => {
  const [first] = accessesOf(["--name=t", "--rw=write", "--size=8k", "--file_append=1"], () => 12288);
  assert.equal(first, "t.0.0 write 12288 4096");
});

test("a file that has no size, or less than an I/O, is refused", () => {
  assert.throws(
    () => accessesOf(["--name=t", "--rw=read"]),
    /t\.0\.0 isn't there, or it's empty: say how large with size=/,
  );
  assert.throws(() => accessesOf(["--name=t", "--rw=read"], () => 512), /512 bytes, less than an I\/O of 4096 bytes/);
  assert.throws(
    () => accessesOf(["--name=t", "--rw=read", "--offset=1m"], () => 4096),
    /offset 1048576 is past the end/,
  );
});

test("a map of blocks finds the free ones, at every size of its levels", () => {
  for (const blocks of [1, 31, 32, 33, 1023, 1024, 1025, 40_000]) {
    const map = new BlockMap(blocks);
    let found = 0;
    for (let at = 0; at >= 0; found++) {
      at = map.nextFree((at * 7919) % blocks);
      if (at < 0) break;
      assert.ok(at < blocks && !map.has(at));
      assert.ok(map.add(at, 1) === 1 && map.has(at));
    }
    assert.equal(found, blocks);
    map.clear();
    assert.equal(map.nextFree(blocks - 1), blocks - 1);
  }
});

test("a shift register of each length goes through all blocks once", () => {
  for (let bits = 3; bits <= 20; bits++) {
    const blocks = 2 ** bits - 1;
    const seen = new Uint8Array(blocks);
    const register = new ShiftRegister(blocks, 12345);
    for (let block = register.next(); block >= 0; block = register.next()) seen[block]!++;
    assert.ok(
      seen.every((times) => times === 1),
      `${bits} bits`,
    );
  }
});
