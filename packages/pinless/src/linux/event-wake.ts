/**
 * Wakes Node's loop by an eventfd. Node has no way to listen to one, and koffi.node.poll calls JavaScript also while a worker is being
 * ended, which kills the process. So a socket of Node's own is made, and before Node has begun to listen, its descriptor is made to be the
 * eventfd: a loop polls and reads both alike. Everything else about it (ref, unref, the end of a worker, the end of the process) is Node's.
 */

import { Socket, type SocketConstructorOpts, type TcpSocketConnectOpts } from "node:net";
import { EVENTFD, FCNTL, SOCKET } from "../abi/numbers.js";
import { close, dup3, eventfd, socketpair } from "./libc.js";

/** An eventfd is read in whole counters of 8 bytes. A longer buffer tells the loop that nothing is left to read. */
const BUFFER_BYTES = 16;

export class EventWake {
  /** The eventfd. It's Node's to close. */
  readonly fd: number;
  readonly #socket: Socket;

  private constructor(receiver: number, signalled: () => void) {
    this.fd = receiver;
    const options: SocketConstructorOpts & Pick<TcpSocketConnectOpts, "onread"> = {
      fd: receiver,
      readable: true,
      writable: false,
      onread: {
        buffer: new Uint8Array(BUFFER_BYTES),
        callback: () => {
          signalled();
          return true;
        },
      },
    };
    this.#socket = new Socket(options);
    this.#socket.on("error", () => {});
    this.#socket.resume();
    this.#socket.unref();
  }

  /** `signalled` is called in a callback of Node's, with the eventfd at 0 again. An EventWake, or -errno. */
  static open(signalled: () => void): EventWake | number {
    const event = eventfd(EVENTFD.EFD_NONBLOCK | EVENTFD.EFD_CLOEXEC);
    if (event < 0) return event;
    const pair = socketpair(SOCKET.AF_UNIX, SOCKET.SOCK_STREAM | SOCKET.SOCK_NONBLOCK | SOCKET.SOCK_CLOEXEC);
    if (typeof pair === "number") {
      close(event);
      return pair;
    }
    const wake = new EventWake(pair[0], signalled);
    // The loop registers descriptors when it next goes to sleep, which isn't before this function has ended.
    const same = dup3(event, wake.fd, FCNTL.O_CLOEXEC);
    close(pair[1]);
    close(event);
    if (same === wake.fd) return wake;
    wake.close();
    return same;
  }

  /** Whether the wait keeps the process alive. */
  keepAlive(yes: boolean): void {
    if (yes) this.#socket.ref();
    else this.#socket.unref();
  }

  close(): void {
    this.#socket.destroy();
  }
}
