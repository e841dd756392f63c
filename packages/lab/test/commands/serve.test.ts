// pinless-lab serve: what the server of the page gives, and what it refuses.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { type IncomingMessage, type RequestOptions, request } from "node:http";
import { connect } from "node:net";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

const LAB = path.join(import.meta.dirname, "../../dist/main.js");
const PAGE = path.join(import.meta.dirname, "../../dist/page");

let server: ChildProcess;
let url: URL;

async function serve(...args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [LAB, "serve", "--no-open", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout!.setEncoding("utf8");
  const [line] = (await once(child.stdout!, "data")) as [string];
  url = new URL(line.trim());
  return child;
}

before(async () => {
  server = await serve();
});

after(() => void server.kill());

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

async function ask(file: string, options: RequestOptions = {}): Promise<Answer> {
  const asked = request({ host: url.hostname, port: url.port, path: `${url.pathname}${file}`, ...options });
  asked.end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part);
  return { status: response.statusCode!, headers: response.headers, text: Buffer.concat(parts).toString() };
}

test("every file of the page is there, with a type, a policy and no way into a cache", async () => {
  for (const name of ["", ...readdirSync(PAGE)]) {
    const { status, headers, text } = await ask(name);
    assert.equal(status, 200, name);
    assert.ok(text.length > 0, name);
    assert.match(headers["content-type"]!, /^(text\/(html|css|javascript); charset=utf-8|application\/json)$/);
    const policy = String(headers["content-security-policy"]);
    assert.match(policy, /default-src 'none'.*frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe|https?:/);
    assert.equal(headers["cache-control"], "no-store");
    assert.equal(headers["referrer-policy"], "no-referrer");
  }
});

test("HEAD has the headers of GET and no body; a query changes nothing", async () => {
  const [got, head] = [await ask("main.js?x"), await ask("main.js", { method: "HEAD" })];
  assert.deepEqual([head.status, head.text], [200, ""]);
  assert.equal(head.headers["content-length"], String(Buffer.byteLength(got.text)));
});

test("a wrong token, a part of the right one and none: 403", async () => {
  const token = url.pathname.split("/")[1]!;
  for (const wrong of ["/", "/main.js", `/${token.slice(1)}/`, `/${token}0/`, `/${"0".repeat(token.length)}/main.js`])
    assert.equal((await ask("", { path: wrong })).status, 403, wrong);
});

test("a Host header that isn't a loopback name: 403, also with the right token", async () => {
  for (const host of [
    "example.org",
    "127.0.0.1.example.org",
    "10.0.0.1:80",
    "localhost@example.org",
    "127.0.0.1:80:80",
  ])
    assert.equal((await ask("", { headers: { host } })).status, 403, host);
  for (const host of ["localhost", `127.0.0.1:${url.port}`, "[::1]:80"])
    assert.equal((await ask("", { headers: { host } })).status, 200, host);
});

test("any method but GET and HEAD: 405, and the answer says which are allowed", async () => {
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"]) {
    const { status, headers } = await ask("", { method });
    assert.deepEqual([status, headers.allow], [405, "GET, HEAD"], method);
  }
});

test("a path outside the page's files: 404", async () => {
  for (const name of ["no.js", "../package.json", "..%2fmain.js", "main.js/", "a/b", "%00", "../../../../etc/passwd"])
    assert.equal((await ask(name)).status, 404, name);
});

test("it listens on the loopback address only", async (t) => {
  const other = Object.values(os.networkInterfaces())
    .flat()
    .find((address) => address?.family === "IPv4" && !address.internal);
  if (other === undefined) return t.skip("machine: no address but the loopback's");
  const socket = connect({ host: other.address, port: Number(url.port) });
  const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
  assert.equal(error.code, "ECONNREFUSED");
});

test("a port that's in use is said so, with exit code 1; Ctrl-C ends it with 130", async () => {
  const second = spawn(process.execPath, [LAB, "serve", "--no-open", "--port", url.port]);
  second.stderr.setEncoding("utf8");
  let said = "";
  second.stderr.on("data", (text: string) => {
    said += text;
  });
  const [code] = await once(second, "close");
  assert.equal(code, 1);
  assert.match(said, /port \d+ is in use/);
  const left = once(server, "exit");
  server.kill("SIGINT");
  assert.deepEqual(await left, [130, null]);
});
