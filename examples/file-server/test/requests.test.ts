/** Requests, good and bad, each with its answer; by both readers, over HTTP on loopback. */

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { type Case, CONDITIONS, CONTENTS, ETAG, PATHS, RANGES, SIZE } from "./cases.js";
import {
  type Answer,
  begun,
  exchange,
  makeFile,
  READERS,
  random,
  request,
  serving,
  temporaryFolder,
} from "./support.js";

function makeSite(t: TestContext): string {
  const outer = temporaryFolder(t);
  const folder = path.join(outer, "site");
  mkdirSync(path.join(folder, "folder"), { recursive: true });
  mkdirSync(path.join(outer, "site-beside"));
  makeFile(outer, "outside", "secret");
  makeFile(path.join(outer, "site-beside"), "secret", "secret");
  makeFile(folder, "data.bin", CONTENTS);
  makeFile(folder, "empty", "");
  makeFile(folder, "ä b.txt", "umlaut");
  makeFile(folder, ".hidden", "hidden");
  makeFile(path.join(folder, "folder"), "data", "data");
  for (const [to, name] of [
    ["data.bin", "inside"],
    [path.join(outer, "outside"), "out"],
    ["../../outside", "folder/out"],
    ["/etc", "outfolder"],
    ["../site-beside", "sibling"],
    ["loop", "loop"],
    ["nothing", "dangling"],
    ["/dev/zero", "device"],
  ] as const)
    symlinkSync(to, path.join(folder, name));
  execFileSync("mkfifo", [path.join(folder, "fifo")]);
  const listen = "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 9))";
  spawnSync(process.execPath, ["-e", listen, path.join(folder, "socket")]);
  return folder;
}

for (const reader of READERS) {
  test(`answers of the server on ${reader}`, async (t) => {
    const { port } = await serving(t, makeSite(t), "--reader", reader);
    const etag = (await request(port, "HEAD /data.bin")).headers.etag!;
    assert.match(etag, /^"[0-9a-f]+-[0-9a-f]+-[0-9a-f]+"$/);
    for (const [name, each] of Object.entries({ ...RANGES, ...PATHS, ...CONDITIONS }))
      await t.test(name, () => answered(port, each, etag));
    // Whatever was asked before, the server goes on.
    assert.equal((await request(port, "GET /data.bin")).body.length, SIZE);
  });

  test(`the bytes of random ranges by ${reader}`, async (t) => {
    const folder = temporaryFolder(t);
    makeFile(folder, "data.bin", CONTENTS);
    const { port } = await serving(t, folder, "--reader", reader);
    const next = random(7);
    const below = (limit: number): number => Math.floor(next() * limit);
    for (let i = 0; i < 60; i++) {
      const ranges = Array.from({ length: 1 + below(6) }, () => {
        const start = below(SIZE);
        return [start, start + below(below(4) === 0 ? SIZE : 5000)] as const;
      });
      const Range = `bytes=${ranges.map((pair) => pair.join("-")).join(",")}`;
      const answer = await request(port, "GET /data.bin", { Range });
      assert.equal(answer.status, 206, Range);
      assert.equal(answer.body.length, Number(answer.headers["content-length"]), Range);
      const parts = partsOf(answer);
      for (const { start, bytes } of parts)
        assert.ok(bytes.equals(CONTENTS.subarray(start, start + bytes.length)), `${Range}: the part at ${start}`);
      for (const [start, end] of ranges) {
        const last = Math.min(end, SIZE - 1);
        const has = parts.some((part) => part.start <= start && last < part.start + part.bytes.length);
        assert.ok(has, `${Range}: a part with ${start}-${last}`);
      }
    }
  });

  test(`a file that shrinks while it is served by ${reader}`, async (t) => {
    const folder = temporaryFolder(t);
    // Larger than what the sockets hold, so that the client decides how far the server has come.
    const size = 64 << 20;
    makeFile(folder, "data", "");
    truncateSync(path.join(folder, "data"), size);
    const { port } = await serving(t, folder, "--reader", reader);
    const errors = t.mock.method(console, "error", () => {});
    const { socket, bytes } = await begun(port, "/data");
    truncateSync(path.join(folder, "data"), 1 << 20);
    socket.resume();
    await once(socket, "close");
    assert.ok(bytes() < size);
    assert.match(String(errors.mock.calls[0]?.arguments[0]), /^\/data: it shrank while it was served: it ends at/);
    assert.equal((await request(port, "GET /data")).headers["content-length"], `${1 << 20}`);
  });
}

test("many ranges are parts of one answer, in the order of the request", async (t) => {
  const folder = temporaryFolder(t);
  makeFile(folder, "data.bin", CONTENTS);
  const { port } = await serving(t, folder);
  const answer = await request(port, "GET /data.bin", { Range: "bytes=500000-500009,-1,0-0" });
  assert.deepEqual(
    partsOf(answer).map(({ start, bytes }) => [start, bytes.length]),
    [
      [500_000, 10],
      [SIZE - 1, 1],
      [0, 1],
    ],
  );
});

test("a file that has just changed has a weak ETag, which resumes nothing", async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(path.join(folder, "new"), "new");
  const inAnHour = new Date(Date.now() + 3_600_000);
  utimesSync(path.join(folder, "new"), inAnHour, inAnHour);
  const { port } = await serving(t, folder);
  const { etag = "", "last-modified": modified = "", date = "" } = (await request(port, "HEAD /new")).headers;
  assert.match(etag, /^W\//);
  assert.ok(Date.parse(modified) <= Date.parse(date));
  const resumed = await request(port, "GET /new", { Range: "bytes=1-", "If-Range": etag });
  assert.deepEqual([resumed.status, String(resumed.body)], [200, "new"]);
  assert.equal((await request(port, "GET /new", { "If-None-Match": etag })).status, 304);
});

test("a folder is listed if that is asked for", async (t) => {
  const folder = makeSite(t);
  makeFile(folder, '<a href="x">&', "");
  const { port } = await serving(t, folder, "--index");
  const { status, body, headers } = await request(port, "GET /");
  assert.equal(status, 200);
  assert.equal(headers["content-type"], "text/html; charset=utf-8");
  const text = String(body);
  assert.ok(text.includes('<a href="./folder/">folder/</a>'), text);
  assert.ok(text.includes('<a href="./%3Ca%20href%3D%22x%22%3E%26">&lt;a href=&quot;x&quot;&gt;&amp;</a>'), text);
  for (const hidden of ["fifo", "socket", ".hidden"]) assert.ok(!text.includes(hidden), hidden);
  const moved = await request(port, "GET /folder");
  assert.deepEqual([moved.status, moved.headers.location], [301, "/folder/"]);
  assert.ok(String((await request(port, "GET /folder/")).body).includes('<a href="../">'));
  assert.equal((await request(port, "HEAD /folder/")).body.length, 0);
  assert.equal((await request(port, "GET /outfolder/")).status, 403);
});

test("what isn't HTTP is refused", async (t) => {
  const { port } = await serving(t, temporaryFolder(t));
  for (const text of ["\r\n\r\nnonsense\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02\x00", "GET / HTTP/1.1\r\n\r\n"])
    assert.match(String(await exchange(port, text)), /^HTTP\/1\.1 400 /, JSON.stringify(text));
});

async function answered(port: number, each: Case, etag: string): Promise<void> {
  const { line = "GET /data.bin", status, answers = {}, body, text } = each;
  const withEtag = (value: string): string => value.replace(ETAG, etag);
  const headers = Object.entries(each.headers ?? {}).map(([name, value]) => [name, withEtag(value)]);
  const answer = await request(port, line, Object.fromEntries(headers));
  assert.equal(answer.status, status, `${answer.status}: ${String(answer.body.subarray(0, 200))}`);
  for (const [name, value = ""] of Object.entries(answers)) assert.equal(answer.headers[name], withEtag(value), name);
  if (body !== undefined) assert.ok(answer.body.equals(CONTENTS.subarray(...body)), `${answer.body.length} bytes`);
  if (text !== undefined) assert.match(String(answer.body), text);
}

/** The parts of an answer with one range or several. */
function partsOf({ headers, body }: Answer): { start: number; bytes: Buffer }[] {
  const startOf = (text: string): number => Number(/bytes (\d+)-/.exec(text)![1]);
  const [, boundary] = /^multipart\/byteranges; boundary=(\w+)$/.exec(headers["content-type"] ?? "") ?? [];
  if (boundary === undefined) return [{ start: startOf(headers["content-range"]!), bytes: body }];
  const parts: { start: number; bytes: Buffer }[] = [];
  let rest = body;
  while (!rest.equals(Buffer.from(`\r\n--${boundary}--\r\n`))) {
    const end = rest.indexOf("\r\n\r\n") + 4;
    const [, start, last] = /Content-Range: bytes (\d+)-(\d+)\//.exec(rest.toString("latin1", 0, end))!.map(Number);
    const length = last! - start! + 1;
    parts.push({ start: start!, bytes: rest.subarray(end, end + length) });
    rest = rest.subarray(end + length);
  }
  return parts;
}
