/**
 * Questions of one connection, answered one after the other, so that whoever asks pays for it: nothing is read while an answer waits
 * to be taken, questions can't fill the event loop, and who takes nothing is sent away.
 */

import type { Socket } from "node:net";
import { clearTimeout, setTimeout } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import { splitLines } from "./control-protocol.js";

/** Questions are a few words. */
const MAX_QUESTION = 4096;
/** For how long an answer waits to be taken. */
const PATIENCE_MS = 10_000;
/** From an answer to the next: figures cost this thread some ten microseconds, and its own work comes first. */
const REST_MS = 5;

/** `answer` is called with a line, and never for two at a time; it doesn't reject. */
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
    // What the kernel holds of further questions is bounded, and then they aren't sent.
    socket.pause();
    for (let line = questions.shift(); line !== undefined && socket.writable; line = questions.shift()) {
      const text = `${JSON.stringify(await answer(line))}\n`;
      if (socket.writable && !socket.write(text)) await taken();
      await sleep(restMs, undefined, { ref: false });
    }
    isAnswering = false;
    socket.resume();
  }

  /** Resolves when the answer has gone, or the connection has. */
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
