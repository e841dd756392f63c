/** The program as it's run: its options, its exit codes, its log, and signals. */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { test } from "node:test";
import { begun, makeFile, request, temporaryFolder } from "./support.js";

const main = path.join(import.meta.dirname, "..", "src", "main.js");
const env = { ...process.env };
delete env.INIT_CWD;

function ran(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [main, ...args], { encoding: "utf8", env });
}

test("--help shows the options", () => {
  const { status, stdout } = ran("--help");
  assert.equal(status, 0);
  assert.match(stdout, /^Serves the files of a folder.*--port PORT/s);
});

for (const [args, message] of [
  [[], "one folder is to be named, and 0 are"],
  [["a", "b"], "one folder is to be named, and 2 are"],
  [["a", "--port", "70000"], '--port is a whole number from 0 to 65535, not "70000"'],
  [["a", "--port", "8.5"], '--port is a whole number from 0 to 65535, not "8.5"'],
  [["a", "--memory", "none"], '--memory is a number from 0.25 to 4096, not "none"'],
  [["a", "--reader", "mmap"], '--reader is pinless or node, not "mmap"'],
  [["a", "--prot"], "Unknown option '--prot'"],
] as const) {
  test(`a wrong command line: ${args.join(" ") || "nothing"}`, () => {
    const { status, stderr } = ran(...args);
    assert.ok(stderr.startsWith(message), stderr);
    assert.equal(status, 2);
  });
}

test("a server that can't start says why", async (t) => {
  const folder = temporaryFolder(t);
  makeFile(folder, "file", "");
  const missing = ran(path.join(folder, "missing"), "--port", "0");
  assert.deepEqual([missing.status, missing.stderr.startsWith("the server can't start: ENOENT")], [1, true]);
  const file = ran(path.join(folder, "file"), "--port", "0");
  assert.deepEqual([file.status, file.stderr.startsWith("the server can't start: ENOTDIR")], [1, true]);
  const host = ran(folder, "--port", "0", "--host", "192.0.2.1");
  assert.deepEqual([host.status, host.stderr.startsWith("the server can't start: listen EADDRNOTAVAIL")], [1, true]);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`after ${signal} what is running ends`, async (t) => {
    const folder = temporaryFolder(t);
    makeFile(folder, "large", new Uint8Array(48 << 20));
    const server = spawn(process.execPath, [main, folder, "--port", "0"], { stdio: ["ignore", "pipe", "pipe"], env });
    t.after(() => server.kill("SIGKILL"));
    let said = "";
    server.stdout.on("data", (text) => {
      said += text;
    });
    await once(server.stdout, "data");
    assert.match(said, /^http:\/\/127\.0\.0\.1:\d+\/ serves .*, read by pinless\n$/);
    const port = Number(/:(\d+)\//.exec(said)![1]);
    assert.equal((await request(port, 'GET /"')).status, 404);
    const { socket, bytes } = await begun(port, "/large");
    server.kill(signal);
    socket.resume();
    await Promise.all([once(socket, "close"), once(server, "exit")]);
    assert.equal(server.exitCode, 0);
    assert.ok(bytes() > 48 << 20);
    const [, first, second] = said.split("\n");
    assert.match(first!, /^127\.0\.0\.1 \S+Z "GET \/%22 HTTP\/1\.1" 404 0 [\d.]+ms refused$/);
    assert.match(second!, /^127\.0\.0\.1 \S+Z "GET \/large HTTP\/1\.1" 200 50331648 [\d.]+ms complete$/);
  });
}
