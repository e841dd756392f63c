/** `pinless cp`: copies files from disk to disk, around the page cache. */

import { Command, Option } from "commander";
import { Engine } from "pinless";
import { CachedFiles } from "../command/cached-files.js";
import { explaining, FAILED, USAGE, UsageError } from "../command/failures.js";
import { bytesText } from "../command/figures.js";
import { onInterrupt } from "../command/interrupt.js";
import { complain } from "../command/output.js";
import { progressBar } from "../command/progress-bar.js";
import { type CopyEntry, CopyPlan } from "../copy/copy-plan.js";
import { CopyRun } from "../copy/copy-run.js";
import type { CopyOptions } from "../copy/file-copy.js";
import { FileData } from "../copy/file-data.js";

interface Flags extends Partial<CopyOptions> {
  readonly recursive?: true;
}

const PROGRAM = "pinless cp";

export function cpCommand(): Command {
  return new Command("cp")
    .description("Copy files from disk to disk, around the page cache")
    .argument("<paths...>", "sources, and at last the destination: a file, or a directory")
    .option("-p, --preserve", "keep mode, owner, times, ACLs and extended attributes")
    .option("-r, --recursive", "copy directories; symbolic links stay links, and hard links too")
    .addOption(
      new Option("--reflink <when>", "share the blocks of the source, where the filesystem can")
        .choices(["auto", "always", "never"])
        .default("auto"),
    )
    .option("--verify", "read each copy back from the device, and compare it with its source")
    .addHelpText("after", HELP)
    .showHelpAfterError("(try pinless cp --help)")
    .exitOverride()
    .action((paths: readonly string[], flags: Flags) =>
      explaining(PROGRAM, USAGE, [UsageError], () => cp(paths, flags)),
    );
}

const HELP = `
A copy is made under a temporary name in the folder of its target, brought to
the device, and renamed: after an error, or Ctrl-C, there is the whole copy or
what was there before. Sparse files stay sparse. A file that is replaced keeps
its mode; other names that it has (hard links) keep the old content. Where
direct I/O isn't possible, a message says so.

Exit codes: 0 success; 1 a file couldn't be copied, or changed meanwhile; 2
wrong usage; 130 Ctrl-C.`;

async function cp(paths: readonly string[], flags: Flags): Promise<void> {
  const { recursive = false, preserve = false, verify = false, reflink = "auto" } = flags;
  const sources = paths.slice(0, -1);
  if (sources.length === 0) throw new UsageError("give at least a source and a destination");
  const cached = new CachedFiles();
  const bar = progressBar("{bar} {percentage} % {doing}", 500);
  const complained = (message: string): void => {
    bar.stop();
    complain(PROGRAM, message);
    process.exitCode = FAILED;
  };
  const plan = new CopyPlan(recursive, complained);
  plan.add(sources, paths.at(-1)!);
  if (plan.entries.length === 0) return;
  const progress = progressOf(plan.entries, (done, total, doing) => bar.update(done, total, doing));
  const interrupt = onInterrupt();
  const { signal } = interrupt;
  const engine = await Engine.open();
  try {
    const data = await FileData.open(engine, signal, progress);
    const options = { preserve, reflink, verify };
    const host = {
      engine,
      data,
      signal,
      options,
      complain: complained,
      copied: progress,
      cached: (name: string) => cached.add(name),
    };
    await new CopyRun(host, recursive).run(plan.entries);
    bar.stop();
    cached.tell(PROGRAM);
  } finally {
    bar.stop();
    await engine.close();
    interrupt.stop();
    if (interrupt.exitCode !== null) process.exitCode = interrupt.exitCode;
  }
}

/** Shows progress in bytes: how many a second, and how long the rest takes at that rate. */
function progressOf(
  entries: readonly CopyEntry[],
  update: (done: number, total: number, doing: string) => void,
): (bytes: number) => void {
  // Holes aren't copied.
  const total = entries.reduce((sum, { stat }) => sum + Math.min(Number(stat.size), 512 * Number(stat.blocks)), 0);
  const began = performance.now();
  let done = 0;
  return (bytes) => {
    done += bytes;
    const rate = done / Math.max(0.001, (performance.now() - began) / 1000);
    const left = Math.max(0, Math.ceil((total - done) / rate));
    const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    update(Math.min(done, total), Math.max(1, total), `${bytesText(Math.round(rate))}/s, ${time} left`);
  };
}
