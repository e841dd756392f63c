/**
 * A client process of the benchmark: connections for each URL path, one after the other, and all paths at a time. It's
 * as cheap as can be, because it shares the machine with the server: bytes are counted, and not kept.
 *
 *   node dist/bench/client.js PORT TIMES PATH…
 */

import { connect } from "node:net";

const [port = "", times = "", ...paths] = process.argv.slice(2);
const buffer = new Uint8Array(1 << 20);

let bytes = 0;
await Promise.all(
  paths.map(async (path) => {
    for (let i = 0; i < Number(times); i++) {
      const count = await fetched(path);
      bytes += count;
    }
  }),
);
console.log(bytes);

/** Resolves to the number of bytes of a body, which are as many as the head promises. */
function fetched(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let head = "";
    let promised = -1;
    let came = 0;
    const take = (count: number, part: Uint8Array): boolean => {
      if (promised >= 0) {
        came += count;
        return true;
      }
      head += Buffer.from(part.buffer, part.byteOffset, count).toString("latin1");
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return true;
      promised = Number(/^HTTP\/1\.1 200 .*\ncontent-length: (\d+)/is.exec(head)?.[1] ?? Number.NaN);
      came = head.length - end - 4;
      return true;
    };
    const socket = connect({ port: Number(port), host: "127.0.0.1", onread: { buffer, callback: take } });
    socket.on("error", reject);
    socket.on("close", () => {
      if (came === promised) resolve(came);
      else reject(new Error(`${path}: ${came} bytes of ${promised}: ${head.slice(0, 200)}`));
    });
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  });
}
