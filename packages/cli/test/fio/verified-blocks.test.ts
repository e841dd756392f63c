// Blocks with headers and checksums: what either writes, the other verifies.
import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, readSync, rmSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { Accesses } from "../../dist/fio/accesses.js";
import { IoBuffers } from "../../dist/fio/io-buffers.js";
import type { Access } from "../../dist/fio/job.js";
import { layOut } from "../../dist/fio/layout.js";
import { parseInvocation } from "../../dist/fio/parse.js";
import { Verifier } from "../../dist/fio/verify.js";
import { byFio, NO_FIO } from "./judge.js";

/** Goes through the I/Os of a job on a file. Reads give the texts of what is missed. */
function run(words: readonly string[], file: string): readonly string[] {
  const [job] = parseInvocation(words).jobs;
  const accesses = new Accesses(
    job!,
    layOut(job!, () => 256 << 10),
  );
  const buffers = new IoBuffers(job!);
  const verifier = job!.verify === null ? null : new Verifier(job!);
  const access: Access = { direction: "read", file: 0, offset: 0, bytes: 0 };
  const memory = new Uint8Array(64 << 10);
  const fd = openSync(file, job!.directions.includes("write") ? "w" : "r");
  const misses: string[] = [];
  while (accesses.next(access)) {
    const buffer = memory.subarray(0, access.bytes);
    if (access.direction === "write") {
      buffers.fill(buffer, access);
      writeSync(fd, buffer, 0, access.bytes, access.offset);
    } else {
      readSync(fd, buffer, 0, access.bytes, access.offset);
      const miss = verifier?.check(buffer, access) ?? null;
      if (miss !== null) misses.push(miss);
    }
  }
  closeSync(fd);
  return misses;
}

const WAYS: readonly (readonly string[])[] = [
  ["--verify=crc32c"],
  ["--verify=md5"],
  ["--verify=sha1"],
  ["--verify=sha256"],
  ["--verify=sha256", "--bs=8k", "--verify_interval=120"],
  ["--verify=xxhash"],
  ["--verify=meta", "--verify_pattern=0x55"],
  ["--verify=pattern", "--verify_pattern=0xdeadbeef"],
  ["--verify=pattern", '--verify_pattern=%o"abc"-12'],
  ["--verify_pattern=0xabcd"],
  ["--verify=crc32c", "--bs=8k", "--verify_interval=1k"],
  ["--verify=md5", "--verify_offset=100"],
];

for (const way of WAYS)
  test(`${way.join(" ")}: either verifies what the other wrote, and misses a byte that's changed`, {
    skip: NO_FIO,
  }, (t) => {
    const directory = scratchDirectory(t);
    const file = path.join(directory, "data");
    const words = ["--name=t", `--filename=${file}`, "--size=256k", "--bs=4k", ...way];
    const fio = (more: readonly string[]) => byFio([...words, "--ioengine=psync", ...more], directory);
    run([...words, "--rw=randwrite"], file);
    const verified = fio(["--rw=read"]);
    assert.equal(verified.code, 0, verified.stderr);
    rmSync(file);
    assert.equal(fio(["--rw=randwrite", "--do_verify=0"]).code, 0);
    assert.deepEqual(run([...words, "--rw=read"], file), []);
    const bytes = readFileSync(file);
    bytes[4001]! ^= 1;
    writeFileSync(file, bytes);
    const misses = run([...words, "--rw=read"], file);
    assert.equal(misses.length, 1);
    assert.match(misses[0]!, /^verify: the block at offset \d+, length \d+: /);
  });

test("headers say which block they're of", (t) => {
  const file = path.join(scratchDirectory(t), "data");
  const words = ["--name=t", `--filename=${file}`, "--size=256k", "--bs=4k", "--verify=crc32c"];
  run([...words, "--rw=write"], file);
  const whole = readFileSync(file);
  const broken = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(whole);
    change(bytes);
    writeFileSync(file, bytes);
    return run([...words, "--rw=read"], file)[0];
  };
  assert.match(broken((bytes) => bytes.fill(0, 0, 2))!, /begins with 0x0, not with 0xacca/);
  assert.match(broken((bytes) => bytes.writeUInt32LE(512, 4))!, /of a block of 512 bytes, not 4096/);
  assert.match(broken((bytes) => bytes.copyWithin(0, 4096, 8192))!, /of the block at 4096/);
  assert.match(broken((bytes) => bytes.writeUInt16LE(9, 34))!, /doesn't have the checksum/);
});

test("contents of buffers: zeros, a pattern, random, and a part that compresses", (t) => {
  const file = path.join(scratchDirectory(t), "data");
  const written = (...more: readonly string[]) => {
    run(["--name=t", `--filename=${file}`, "--size=64k", "--bs=4k", "--rw=write", ...more], file);
    return readFileSync(file);
  };
  assert.ok(written("--zero_buffers").every((byte) => byte === 0));
  assert.deepEqual(written("--buffer_pattern=0x0102").subarray(0, 6), Buffer.of(1, 2, 1, 2, 1, 2));
  const blocks = (bytes: Buffer) =>
    Array.from({ length: 16 }, (_, i) => bytes.toString("hex", i * 4096, (i + 1) * 4096));
  assert.equal(new Set(blocks(written())).size, 16);
  assert.equal(new Set(blocks(written("--scramble_buffers=0"))).size, 1);
  assert.equal(new Set(blocks(written("--scramble_buffers=0", "--refill_buffers"))).size, 16);
  const zeros = written("--buffer_compress_percentage=75").filter((byte) => byte === 0).byteLength;
  assert.ok(zeros > 0.74 * 65536 && zeros < 0.78 * 65536, `${zeros} zeros`);
  assert.ok(written("--buffer_compress_percentage=100").every((byte) => byte === 0));
});
