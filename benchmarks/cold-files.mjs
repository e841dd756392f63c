// Large files that benchmarks read with a cold page cache.

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, statSync, writeSync } from "node:fs";

const sh = (command, args) => execFileSync(command, args, { encoding: "utf8" });

/** MiB of a file that the page cache has. */
export function cachedMib(file) {
  return Number(sh("fincore", ["-b", "-n", "-o", "RES", file])) / 2 ** 20;
}

/** Writes a file back, and drops its pages from the page cache. */
export function drop(file) {
  sh("dd", [`of=${file}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]);
}

/** Makes a file of random bytes, unless there is one of that size. */
export function makeFile(path, bytes) {
  if (existsSync(path) && statSync(path).size >= bytes) return;
  const fd = openSync(path, "w");
  for (let at = 0; at < bytes; at += 2 ** 20) writeSync(fd, randomBytes(2 ** 20));
  fsyncSync(fd);
  closeSync(fd);
}
