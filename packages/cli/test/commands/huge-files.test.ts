/** pinless cp and sum beside coreutils: files of 1 GiB, and of 1 TiB with few blocks. */
import assert from "node:assert/strict";
import { statSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { copies, coreutils, sameSums, shell } from "./compared.js";

const GIB = 1 << 30;
const TIB = 2 ** 40;

test("files of about 1 GiB: copies as the source, sums as of sha256sum", (t) => {
  const directory = scratchDirectory(t);
  for (const bytes of [GIB, GIB + 1]) {
    shell(`head -c ${bytes} /dev/urandom > source`, directory);
    copies(["--verify", "source", "copy"], directory);
    shell("cmp source copy", directory);
    sameSums(["source", "copy"], directory);
  }
});

test("1 TiB with few blocks: a copy with as many, at the same places", (t) => {
  const directory = scratchDirectory(t);
  const places = [0, 5 * GIB + 1, TIB / 2, TIB - 4096];
  writeFileSync(path.join(directory, "source"), "");
  truncateSync(path.join(directory, "source"), TIB + 3);
  const place = (position: number): string => `skip=${position} count=8000 iflag=skip_bytes,count_bytes`;
  shell("head -c 8000 /dev/urandom > data", directory);
  for (const at of places)
    shell(`dd if=data of=source conv=notrunc bs=8000 seek=${at} oflag=seek_bytes status=none`, directory);
  shell("sync source", directory);
  copies(["--verify", "source", "ours"], directory);
  coreutils(["cp", "--sparse=auto", "--reflink=never", "source", "theirs"], directory);
  shell("sync theirs", directory);
  const [source, ours, theirs] = ["source", "ours", "theirs"].map((name) => statSync(path.join(directory, name)));
  assert.deepEqual([ours!.size, ours!.blocks], [source!.size, theirs!.blocks]);
  for (const at of places)
    shell(`cmp data <(dd if=ours ${place(at)} status=none) -n ${Math.min(8000, TIB + 3 - at)}`, directory);
});

test("holes beyond 4 GiB: sums as of sha256sum", (t) => {
  const directory = scratchDirectory(t);
  writeFileSync(path.join(directory, "sparse"), "first");
  truncateSync(path.join(directory, "sparse"), 4 * GIB + 7);
  shell("echo last >> sparse", directory);
  sameSums(["sparse"], directory);
});
