import { Socket, type SocketConstructorOpts, type TcpSocketConnectOpts } from "node:net";

/**
 * Bytes that a read takes at most: more than an eventfd's counter of 8, because a buffer that was filled only in part
 * tells libuv that nothing is left.
 */
const BUFFER_BYTES = 16;

/**
 * Polls a descriptor in Node's event loop, and calls `readable` after it was read, from a callback of Node's. The
 * socket doesn't keep the process alive.
 */
export function readSocket(fd: number, readable: () => void): Socket {
  const options: SocketConstructorOpts & Pick<TcpSocketConnectOpts, "onread"> = {
    fd,
    readable: true,
    writable: false,
    // One buffer serves all reads, instead of an allocation for each.
    onread: {
      buffer: new Uint8Array(BUFFER_BYTES),
      callback: () => {
        readable();
        return true;
      },
    },
  };
  const socket = new Socket(options);
  // A socket without a reader isn't polled. An error here means that the other end was closed first.
  socket.on("error", () => {});
  socket.resume();
  return socket.unref();
}
