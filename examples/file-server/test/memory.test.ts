/** Memory of the server in a memory cgroup of 128 MiB, while it serves more than that. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import path from "node:path";
import { test } from "node:test";
import { memoryCgroup, noMemoryCgroups } from "../bench/memory-cgroup.js";
import { makeFile, temporaryFolder } from "./support.js";

const MIB = 2 ** 20;
const CLIENTS = 32;
const FILE_BYTES = 16 * MIB;

test("512 MiB to 32 clients leave memory flat", { skip: noMemoryCgroups }, async (t) => {
  const folder = temporaryFolder(t);
  const names = Array.from({ length: CLIENTS }, (_, i) => `${i}`);
  for (const name of names) makeFile(folder, name, randomBytes(FILE_BYTES));
  const cgroup = memoryCgroup(128 * MIB);
  t.after(() => cgroup.remove());
  const dist = path.join(import.meta.dirname, "..");
  const main = [path.join(dist, "src", "main.js"), folder, "--port", "0", "--no-log"];
  const [command, ...args] = [...cgroup.enter, process.execPath, ...main];
  const server = spawn(command!, args, { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => server.kill("SIGKILL"));
  const [line] = await once(server.stdout, "data");
  const before = cgroup.use();
  const client = [path.join(dist, "bench", "client.js"), /:(\d+)\//.exec(String(line))![1]!, "1"];
  const fetching = spawn(process.execPath, [...client, ...names.map((name) => `/${name}`)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [counted] = await once(fetching.stdout, "data");
  assert.equal(Number(counted), CLIENTS * FILE_BYTES);
  const after = cgroup.use();
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`;
  assert.ok(
    after.cache - before.cache < 8 * MIB,
    `the page cache grew from ${mib(before.cache)} to ${mib(after.cache)}`,
  );
  assert.ok(after.peak < 96 * MIB, `${mib(after.peak)} were used`);
  server.kill("SIGTERM");
  await once(server, "exit");
  assert.equal(server.exitCode, 0);
});
