/**
 * Answers the questions of one connection in order, at the expense of the client: nothing is read while an answer waits
 * to be taken, questions can't fill the event loop, and a client that takes no answers is disconnected.
 */

import type { Socket } from "node:net";
import { clearTimeout, setTimeout } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import { splitLines } from "./control-protocol.js";

/** Maximum length of a question. */
const MAX_QUESTION = 4096;
/** Time that a client has to read an answer. */
const PATIENCE_MS = 10_000;
/** Pause between two answers: an answer costs some ten microseconds, and the engine's own work comes first. */
const REST_MS = 5;

/** Serves a connection. `answer` is called with one line at a time, and must not reject. */
export function converse(
  socket: Socket,
  answer: (line: string) => Promise<object>,
  { patienceMs = PATIENCE_MS, restMs = REST_MS } = {},
): void {
  const questions: string[] = [];
  let isAnswering = false;
  const take = splitLines(MAX_QUESTION, (line) => questions.push(line));
  socket.setEncoding("utf8").on("data", (text: string) => {
    try {
      take(text);
    } catch {
      socket.destroy();
    }
    if (!isAnswering) void answerAll();
  });

  async function answerAll(): Promise<void> {
    isAnswering = true;
    // While paused, further questions wait in the kernel's buffer, which is bounded.
    socket.pause();
    for (let line = questions.shift(); line !== undefined && socket.writable; line = questions.shift()) {
      const text = `${JSON.stringify(await answer(line))}\n`;
      if (socket.writable && !socket.write(text)) await taken();
      await sleep(restMs, undefined, { ref: false });
    }
    isAnswering = false;
    socket.resume();
  }

  /** Resolves when the answer was taken, or the connection has ended. */
  function taken(): Promise<void> {
    return new Promise((resolve) => {
      const late = setTimeout(() => socket.destroy(), patienceMs).unref();
      const over = (): void => {
        clearTimeout(late);
        socket.off("drain", over).off("close", over);
        resolve();
      };
      socket.once("drain", over).once("close", over);
    });
  }
}
