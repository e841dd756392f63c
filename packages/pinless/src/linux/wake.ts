/**
 * Wakes Node's event loop when a ring has completions: a second, tiny ring polls the first one and then sends a byte to
 * a socket that Node polls. The kernel does all of it; no code of ours runs until the byte arrives.
 *
 * An eventfd on koffi.node.poll was worse: it aborted the process when a worker was terminated under I/O (3 of 3 runs
 * on Node 20), and must be closed in the right order at every exit. A net.Socket is Node's own (50 of 50 terminations
 * survived), and nothing is signalled for completions that were already reaped. The round trip costs the same within
 * noise (4 KiB reads, one in flight: 12,800 to 16,200 a second here, 13,500 to 15,300 by the eventfd).
 */

import type { Socket } from "node:net";
import { SQE } from "../abi/layouts.js";
import { IO_URING, POLL, SOCKET } from "../abi/numbers.js";
import { close, socketpair } from "./libc.js";
import { addressOf } from "./libc-bindings.js";
import { readSocket } from "./read-socket.js";
import { Ring } from "./ring.js";
import { closeAtTeardown } from "./teardown.js";

const FD = SQE.fields.fd / 4;
const ADDR = SQE.fields.addr / 4;
const LEN = SQE.fields.len / 4;
const EVENTS = SQE.fields.poll32_events / 4;

export class Wake {
  readonly #ring: Ring;
  readonly #watched: number;
  readonly #sender: number;
  /** Descriptor of the socket that Node's loop polls. */
  readonly receiver: number;
  readonly #socket: Socket;
  /** The byte that is sent, referenced so that it isn't garbage-collected. */
  readonly #byte = new ArrayBuffer(128);
  readonly #byteAddress: number;
  #armed = false;
  readonly #forgetTeardown: () => void;

  private constructor(ring: Ring, watched: number, sender: number, receiver: number, woken: () => void) {
    this.#ring = ring;
    this.#watched = watched;
    this.#sender = sender;
    this.receiver = receiver;
    this.#forgetTeardown = closeAtTeardown(sender);
    this.#byteAddress = addressOf(this.#byte);
    this.#socket = readSocket(receiver, () => {
      this.#armed = false;
      woken();
    });
  }

  /**
   * Opens one; returns -errno on failure. `watched` is the ring's descriptor. `woken` is called from a callback of
   * Node's, and should do little there.
   */
  static open(watched: number, woken: () => void): Wake | number {
    const pair = socketpair(SOCKET.AF_UNIX, SOCKET.SOCK_STREAM | SOCKET.SOCK_NONBLOCK | SOCKET.SOCK_CLOEXEC);
    if (typeof pair === "number") return pair;
    let ring: Ring | number | null = null;
    try {
      ring = Ring.open({ entries: 2, completions: 4 });
    } finally {
      if (typeof ring === "number" || ring === null) for (const fd of pair) close(fd);
    }
    if (typeof ring === "number") return ring;
    return new Wake(ring, watched, pair[0], pair[1], woken);
  }

  /**
   * Makes the next completion wake the loop, or one that is there already. False if the kernel was out of memory: then
   * the caller has to reap, and arm again.
   */
  arm(): boolean {
    if (this.#armed) return true;
    if (this.#ring.unsubmitted === 0) this.#prepareBoth();
    // What wasn't taken goes with the next call.
    this.#ring.enter(0);
    this.#armed = this.#ring.unsubmitted === 0;
    return this.#armed;
  }

  /** Links poll and send by IOSQE_IO_HARDLINK, so that the byte is sent even if the poll fails. */
  #prepareBoth(): void {
    const poll = this.#prepare(
      IO_URING.IORING_OP_POLL_ADD,
      IO_URING.IOSQE_IO_HARDLINK | IO_URING.IOSQE_CQE_SKIP_SUCCESS,
      this.#watched,
    );
    this.#ring.sqes[poll + EVENTS] = POLL.POLLIN;
    const send = this.#prepare(IO_URING.IORING_OP_SEND, IO_URING.IOSQE_CQE_SKIP_SUCCESS, this.#sender);
    this.#ring.sqes[send + ADDR] = this.#byteAddress;
    this.#ring.sqes[send + ADDR + 1] = Math.floor(this.#byteAddress / 2 ** 32);
    this.#ring.sqes[send + LEN] = 1;
  }

  #prepare(opcode: number, flags: number, fd: number): number {
    const at = this.#ring.next();
    this.#ring.sqes.fill(0, at, at + SQE.size / 4);
    this.#ring.sqes[at] = opcode | (flags << 8);
    this.#ring.sqes[at + FD] = fd;
    return at;
  }

  /** Sets whether waiting keeps the process alive. */
  keepAlive(yes: boolean): void {
    if (yes) this.#socket.ref();
    else this.#socket.unref();
  }

  close(): void {
    this.#ring.close();
    this.#forgetTeardown();
    close(this.#sender);
    this.#socket.destroy();
  }
}
