/** Many clients, slow ones, those that leave, and a server that is stopped. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { truncateSync } from "node:fs";
import type { ServerResponse } from "node:http";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { BlockPool } from "../src/block-pool.js";
import { ClientLeft, taken } from "../src/file-body.js";
import type { FileServer } from "../src/server.js";
import {
  begun,
  connection,
  exchange,
  makeFile,
  READERS,
  randomBytes,
  request,
  serving,
  temporaryFolder,
} from "./support.js";

/** More than the sockets of a connection hold, so that a client that takes nothing stops the server's writes. */
const LARGE_BYTES = 64 << 20;

function siteWithLarge(t: TestContext): string {
  const folder = temporaryFolder(t);
  makeFile(folder, "large", "");
  truncateSync(path.join(folder, "large"), LARGE_BYTES);
  makeFile(folder, "small", "small");
  return folder;
}

/** The value of one of the server's figures. */
async function figure(server: FileServer, name: string): Promise<number> {
  const { body } = await request(server.metricsPort!, "GET /-/metrics");
  const found = new RegExp(`^file_server_${name} (\\d+)$`, "m").exec(String(body));
  assert.ok(found !== null, `${name} is in ${body}`);
  return Number(found[1]);
}

/** Resolves once a figure has a value, which only a failure keeps it from. */
async function until(server: FileServer, name: string, value: number): Promise<void> {
  const began = performance.now();
  for (let is = await figure(server, name); is !== value; is = await figure(server, name))
    assert.ok(performance.now() - began < 60_000, `${name} is still ${is}, not ${value}`);
}

for (const reader of READERS) {
  test(`64 clients at a time have their bytes by ${reader}`, async (t) => {
    const folder = temporaryFolder(t);
    const files = Array.from({ length: 8 }, (_, i) => randomBytes(300_000 + 70_001 * i, i));
    for (const [i, contents] of files.entries()) makeFile(folder, `${i}`, contents);
    // Memory for four clients at a time: most wait for each of their blocks.
    const server = await serving(t, folder, "--reader", reader, "--memory", "1", "--metrics-port", "0");
    await Promise.all(
      Array.from({ length: 64 }, async (_, i) => {
        const { status, body } = await request(server.port, `GET /${i % 8}`);
        assert.ok(status === 200 && body.equals(files[i % 8]!), `client ${i}: ${status}, ${body.length} bytes`);
      }),
    );
    assert.equal(await figure(server, "blocks"), 4);
    await until(server, "blocks_used", 0);
  });

  test(`clients that leave give their memory back to ${reader}`, async (t) => {
    const server = await serving(t, siteWithLarge(t), "--reader", reader, "--memory", "2", "--metrics-port", "0");
    // Clients that take nothing hold all eight blocks, and the rest of them wait for one.
    const clients = Array.from({ length: 16 }, () => connection(server.port));
    for (const socket of clients) socket.write("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await until(server, "responses_in_progress", 16);
    await until(server, "blocks_used", 8);
    assert.ok((await figure(server, "waiting_for_blocks")) > 0);
    for (const socket of clients) socket.resetAndDestroy();
    await until(server, "blocks_used", 0);
    await until(server, "responses_in_progress", 0);
    assert.equal((await request(server.port, "GET /large")).body.length, LARGE_BYTES);
    const { body } = await request(server.metricsPort!, "GET /-/metrics");
    assert.match(String(body), /responses_total\{status="200",ending="left"\} 16\n/);
  });

  test(`a slow client has all its bytes from ${reader}, and others don't wait for it`, async (t) => {
    const server = await serving(t, siteWithLarge(t), "--reader", reader, "--memory", "0.5");
    const { socket, bytes } = await begun(server.port, "/large");
    for (let i = 0; i < 20; i++) assert.equal(String((await request(server.port, "GET /small")).body), "small");
    socket.resume();
    await once(socket, "close");
    assert.ok(bytes() > LARGE_BYTES);
  });
}

test("a client that takes nothing is cut off, and so is one that says nothing", async (t) => {
  const server = await serving(t, siteWithLarge(t), "--stall", "0.2", "--metrics-port", "0");
  const { socket, bytes } = await begun(server.port, "/large");
  const [silent, half, idle] = [1, 2, 3].map(() => connection(server.port).resume());
  half!.write("GET /small HTTP/1.1\r\nHost:");
  idle!.write("GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await Promise.all([silent, half, idle].map((each) => once(each!, "close")));
  await until(server, "responses_in_progress", 0);
  socket.resume();
  await once(socket, "close");
  assert.ok(bytes() < LARGE_BYTES);
});

test("a client is cut off also if it takes a little now and then", async () => {
  // Its socket has progress, which a timeout of Node's would wait for, and its write has no end.
  const leaving = new AbortController();
  const response = { destroyed: false, destroy: () => leaving.abort() } as unknown as ServerResponse;
  await assert.rejects(
    taken(response, leaving.signal, 1, () => {}),
    ClientLeft,
  );
});

test("a client that has left waits for no memory", async () => {
  await assert.rejects(new BlockPool([]).take(AbortSignal.abort(new ClientLeft())), ClientLeft);
});

test("requests that come together are answered one after the other", async (t) => {
  const server = await serving(t, siteWithLarge(t), "--memory", "4", "--metrics-port", "0");
  const one = "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const socket = connection(server.port);
  socket.write(one.repeat(50));
  await once(socket, "readable");
  assert.equal(await figure(server, "responses_in_progress"), 1);
  // A block that waits for the client, and two that were read ahead.
  assert.ok((await figure(server, "blocks_used")) <= 3);
  socket.resetAndDestroy();
  await until(server, "responses_in_progress", 0);
  assert.equal(await figure(server, "blocks_used"), 0);
  const small = "GET /small HTTP/1.1\r\nHost: localhost\r\n";
  const text = String(await exchange(server.port, `${small}\r\n${small}\r\n${small}Connection: close\r\n\r\n`));
  assert.equal(text.match(/\r\n\r\nsmall/g)?.length, 3);
});

test("a stop lets running responses end, and takes no others", async (t) => {
  const server = await serving(t, siteWithLarge(t));
  const { port } = server;
  const idle = connection(port).resume();
  await once(idle, "connect");
  const { socket, bytes } = await begun(port, "/large");
  const stopped = server.stop();
  await once(idle, "close");
  const refused = connection(port);
  const [error] = await once(refused, "error");
  assert.equal(error.code, "ECONNREFUSED");
  socket.resume();
  await once(socket, "close");
  assert.ok(bytes() > LARGE_BYTES);
  assert.equal(await stopped, 0);
});

test("a stop ends connections that would have stayed, after their last answer", async (t) => {
  const server = await serving(t, siteWithLarge(t), "--grace", "3600");
  const socket = connection(server.port);
  const one = "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n";
  socket.write(one + one);
  await once(socket, "readable");
  const stopped = server.stop();
  let bytes = 0;
  socket.on("data", (part) => {
    bytes += part.length;
  });
  await once(socket, "close");
  assert.ok(bytes > 2 * LARGE_BYTES);
  assert.equal(await stopped, 0);
});

test("a stop cuts responses that don't end in time", async (t) => {
  const server = await serving(t, siteWithLarge(t), "--grace", "0.05");
  const { socket, bytes } = await begun(server.port, "/large");
  assert.equal(await server.stop(), 1);
  socket.resume();
  await once(socket, "close");
  assert.ok(bytes() < LARGE_BYTES);
});
