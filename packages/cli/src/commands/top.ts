/** `pinless top`: shows the engines of a running process, once a second or at another interval. */

import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { FAILED } from "../command/failures.js";
import { onInterrupt } from "../command/interrupt.js";
import { processNumber, seconds } from "../command/number-arguments.js";
import { complain, print, printJson } from "../command/output.js";
import { printable } from "../command/printable.js";
import { Unreachable } from "../control/client.js";
import { WatchedProcess } from "../control/watched-process.js";
import { lineOf, linesOf, type Picture } from "./top-picture.js";

const MIN_DELAY_SECONDS = 0.1;
const MAX_DELAY_SECONDS = 3600;
/** Time after which a thread that hasn't answered is shown as busy. */
const PATIENCE_MS = 500;
/** Time that --once waits, since there is no later look. */
const ONCE_PATIENCE_MS = 10_000;

interface Flags {
  readonly json?: true;
  readonly once?: true;
  /** Interval in seconds. */
  readonly delay: number;
}

export function topCommand(): Command {
  return new Command("top")
    .description("Show the engines of a running process, once a second")
    .argument("<pid>", "the process", processNumber)
    .option("-d, --delay <seconds>", "interval between two updates", seconds(MIN_DELAY_SECONDS, MAX_DELAY_SECONDS), 1)
    .option("--json", "write each update as a line of JSON")
    .option("--once", "write one update after the first interval, and end")
    .addHelpText("after", HELP)
    .showHelpAfterError("(try pinless top --help)")
    .exitOverride()
    .action(top);
}

const HELP = `
On a terminal the figures are redrawn in place; otherwise each update is a line.
The command ends when the process does, or with Ctrl-C.

Exit codes: 0 the process ended, or Ctrl-C; 1 it couldn't be reached; 2 wrong
usage.`;

async function top(pid: number, { json, once, delay }: Flags): Promise<void> {
  const interrupt = onInterrupt();
  const watched = new WatchedProcess(pid);
  const screen = json !== true && once !== true && process.stdout.isTTY ? new Screen() : null;
  const show = (picture: Picture): void => {
    if (screen !== null) screen.draw(picture);
    else if (json === true) printJson(picture);
    else if (once === true) print(`${linesOf(picture, process.stdout.columns ?? 80).join("\n")}\n`);
    else print(`${lineOf(picture)}\n`);
  };
  const periodMs = 1000 * delay;
  const patienceMs = once === true ? ONCE_PATIENCE_MS : PATIENCE_MS;
  try {
    await watched.look(patienceMs);
    // Looks that were late because a thread was busy aren't made up for.
    for (let nextMs = performance.now() + periodMs; ; nextMs = Math.max(nextMs + periodMs, performance.now())) {
      await sleep(Math.max(0, nextMs - performance.now()), undefined, { signal: interrupt.signal });
      const threads = await watched.look(patienceMs);
      if (once === true && threads.some(({ silentSeconds }) => silentSeconds > 0))
        throw new Unreachable("ETIMEDOUT", `no answer within ${ONCE_PATIENCE_MS / 1000} s: its event loop is busy`);
      show({ time: new Date().toISOString(), pid, threads });
      if (once === true) return;
    }
  } catch (error) {
    // Ctrl-C is the normal way to end it.
    if (interrupt.exitCode !== null) process.exitCode = interrupt.exitCode === INTERRUPTED ? 0 : interrupt.exitCode;
    else if (error instanceof Unreachable) {
      const hasEnded = error.code === "ESRCH" && watched.hasAnswered;
      complain("pinless top", `${pid}: ${hasEnded ? "has ended" : error.message}`);
      process.exitCode = hasEnded && once !== true ? 0 : FAILED;
    } else throw error;
  } finally {
    screen?.end();
    watched.close();
    interrupt.stop();
  }
}

const INTERRUPTED = 130;

/** Part of a terminal that is redrawn in place, without flicker. */
class Screen {
  #lines = 0;

  draw(picture: Picture): void {
    const { columns, rows } = process.stdout;
    const lines = linesOf(picture, columns).slice(0, Math.max(1, rows - 1));
    // Text from the process may contain control characters.
    const drawn = lines.map((line) => `${printable(line)}\x1b[K\n`).join("");
    // The cursor goes back to the first line; each line's rest is cleared, and then everything below.
    const up = this.#lines > 0 ? `\x1b[${this.#lines}A` : "\x1b[?25l";
    process.stdout.write(`${up}\r${drawn}\x1b[J`);
    this.#lines = lines.length;
  }

  end(): void {
    if (this.#lines > 0) process.stdout.write("\x1b[?25h");
  }
}
