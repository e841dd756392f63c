/**
 * Wakes Node's event loop by an eventfd. Node has no API to poll one, and koffi.node.poll calls JavaScript even while a
 * worker is being terminated, which kills the process. So a socket of Node's is created, and before Node polls it, its
 * descriptor is replaced by the eventfd with dup3: libuv polls and reads both alike. Node handles everything else (ref,
 * unref, the end of a worker or of the process).
 */

import type { Socket } from "node:net";
import { EVENTFD, FCNTL, SOCKET } from "../abi/numbers.js";
import { close, dup3, eventfd, socketpair } from "./libc.js";
import { readSocket } from "./read-socket.js";

export class EventWake {
  /** The eventfd. Node closes it. */
  readonly fd: number;
  readonly #socket: Socket;

  private constructor(receiver: number, signalled: () => void) {
    this.fd = receiver;
    this.#socket = readSocket(receiver, signalled);
  }

  /**
   * Opens one; returns -errno on failure. `signalled` is called from a callback of Node's, after the eventfd was read
   * and is 0 again.
   */
  static open(signalled: () => void): EventWake | number {
    const event = eventfd(EVENTFD.EFD_NONBLOCK | EVENTFD.EFD_CLOEXEC);
    if (event < 0) return event;
    const pair = socketpair(SOCKET.AF_UNIX, SOCKET.SOCK_STREAM | SOCKET.SOCK_NONBLOCK | SOCKET.SOCK_CLOEXEC);
    if (typeof pair === "number") {
      close(event);
      return pair;
    }
    const wake = new EventWake(pair[0], signalled);
    // libuv registers descriptors with epoll only before it next sleeps, so not before this function has returned.
    const same = dup3(event, wake.fd, FCNTL.O_CLOEXEC);
    close(pair[1]);
    close(event);
    if (same === wake.fd) return wake;
    wake.close();
    return same;
  }

  /** Sets whether waiting keeps the process alive. */
  keepAlive(yes: boolean): void {
    if (yes) this.#socket.ref();
    else this.#socket.unref();
  }

  close(): void {
    this.#socket.destroy();
  }
}
