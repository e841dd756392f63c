// pinless sum beside sha256sum: sizes around block boundaries, other algorithms, and the page cache.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { blake3 } from "@napi-rs/blake-hash";
import { crc32c } from "@node-rs/crc32";
import { xxh3 } from "@node-rs/xxhash";
import { cachedBytes, forget } from "../../../pinless/dist-test/support/page-cache.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { coreutils, pinless, sameSums } from "./compared.js";

const BOUNDARIES = [1, 512, 4096, 64 << 10, 512 << 10, 1 << 20, 5 * (512 << 10)];

/** Bytes without a period that divides blocks. */
function bytes(length: number): Buffer {
  const made = Buffer.alloc(length);
  for (let i = 0; i < length; i++) made[i] = (i * 7 + (i >> 8) * 13 + (i >> 16)) & 255;
  return made;
}

test("sizes around block boundaries, empty and sparse files: as sha256sum", (t) => {
  const directory = scratchDirectory(t);
  const sizes = [0, ...BOUNDARIES.flatMap((size) => [size - 1, size, size + 1])];
  const all = bytes(Math.max(...sizes));
  for (const size of sizes) writeFileSync(path.join(directory, `${size}`), all.subarray(0, size));
  writeFileSync(path.join(directory, "sparse"), all.subarray(0, 5000));
  truncateSync(path.join(directory, "sparse"), 9_000_001);
  const names = [...sizes.map(String), "sparse", "missing", ".", "/proc/version", "/dev/null"];
  sameSums(names, directory);
});

test("other algorithms: known checksums, and those of their libraries in one piece", (t) => {
  const directory = scratchDirectory(t);
  const large = bytes(3_000_001);
  writeFileSync(path.join(directory, "large"), large);
  const expected = {
    blake3: ["6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85", blake3(large).toString("hex")],
    crc32c: ["364b3fb7", crc32c(large).toString(16).padStart(8, "0")],
    xxh3: ["78af5f94892f3950", xxh3.xxh64(large).toString(16).padStart(16, "0")],
  };
  for (const [name, [ofAbc, ofLarge]] of Object.entries(expected)) {
    const { stdout } = pinless(["sum", "-a", name, "-", "large"], directory, "abc");
    assert.equal(stdout, `${ofAbc}  -\n${ofLarge}  large\n`, name);
  }
  const list = pinless(["sum", "-a", "crc32c", "--tag", "large"], directory).stdout;
  assert.equal(pinless(["sum", "-a", "crc32c", "-c"], directory, list).stdout, "large: OK\n");
});

test("wrong usage exits with 2, and says what is wrong", (t) => {
  const directory = scratchDirectory(t);
  for (const args of [["--quiet"], ["-c", "--tag"], ["-c", "-z"], ["--tag", "-t"], ["-a", "md5"]]) {
    const { code, stdout, stderr } = pinless(["sum", ...args, "file"], directory);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, /^error: .*\n\(try pinless sum --help\)\n$/);
  }
});

test("the page cache stays as it was; sha256sum fills it", (t) => {
  const directory = scratchDirectory(t);
  const file = path.join(directory, "file");
  writeFileSync(file, bytes((8 << 20) + 100));
  forget(file);
  if (cachedBytes(file) > 0) return t.skip("machine: this filesystem keeps files in memory");
  const ours = pinless(["sum", "file"], directory);
  assert.deepEqual([cachedBytes(file), ours.stderr], [0, ""]);
  assert.equal(coreutils(["sha256sum", "file"], directory).stdout, ours.stdout);
  assert.ok(cachedBytes(file) > 8 << 20);
});

test("a file without direct I/O is read all the same, and named", (t) => {
  const name = `pinless-sum-${process.pid}`;
  const file = path.join("/dev/shm", name);
  t.after(() => execFileSync("rm", ["-f", file]));
  writeFileSync(file, "content");
  const { code, stdout, stderr } = pinless(["sum", name, "/proc/version"], "/dev/shm");
  assert.equal(code, 0);
  assert.match(stdout, new RegExp(`^[0-9a-f]{64} {2}${name}\\n`));
  assert.match(stderr, new RegExp(`^pinless sum: through the page cache.*: ${name}\\n$`));
});

test("a FIFO is read", (t) => {
  const directory = scratchDirectory(t);
  execFileSync("mkfifo", [path.join(directory, "fifo")]);
  execFileSync("bash", ["-c", "echo hello > fifo & disown"], { cwd: directory, stdio: "ignore" });
  const expected = coreutils(["sha256sum", "-"], directory, "hello\n").stdout.replace("-", "fifo");
  assert.equal(pinless(["sum", "fifo"], directory).stdout, expected);
});

test("the standard input is read from where it is", (t) => {
  const directory = scratchDirectory(t);
  writeFileSync(path.join(directory, "file"), bytes(100_000));
  const main = path.resolve(import.meta.dirname, "../../dist/main.js");
  const script = (command: string): string =>
    execFileSync("bash", ["-c", `{ head -c 4096 > /dev/null; ${command}; } < file`], {
      cwd: directory,
      encoding: "utf8",
    });
  assert.equal(script(`'${process.execPath}' '${main}' sum`), script("sha256sum"));
});
