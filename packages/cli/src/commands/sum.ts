/** `pinless sum`: checksums of files, read around the page cache, on all cores. */

import { Command, Option } from "commander";
import { CachedFiles } from "../command/cached-files.js";
import { FAILED, systemReason } from "../command/failures.js";
import { complain, printNames } from "../command/output.js";
import { ALGORITHMS, type AlgorithmName } from "../sum/algorithms.js";
import { type CheckReports, type CheckStyle, checkList } from "../sum/check-list.js";
import { type Hashed, STDIN } from "../sum/hash-messages.js";
import { HashPool } from "../sum/hash-pool.js";
import { sumLine } from "../sum/sum-lines.js";

interface Flags extends Partial<CheckStyle> {
  readonly algorithm: AlgorithmName;
  readonly check?: true;
  readonly binary?: true;
  readonly text?: true;
  readonly tag?: true;
  readonly zero?: true;
}

const PROGRAM = "pinless sum";
const CHECK_ONLY = ["ignoreMissing", "quiet", "status", "strict", "warn"] as const;

export function sumCommand(): Command {
  const checks = "with --check:";
  return new Command("sum")
    .description("Write or check checksums of files, which are read around the page cache")
    .argument("[files...]", 'the files; "-", or none, is the standard input')
    .addOption(new Option("-a, --algorithm <name>", "the checksum").choices(Object.keys(ALGORITHMS)).default("sha256"))
    .option("-b, --binary", "mark names with an asterisk")
    .option("-c, --check", "read checksums from the files, and check them")
    .addOption(new Option("--tag", "write BSD's format, with the checksum's name").conflicts(["text", "check"]))
    .addOption(new Option("-t, --text", "mark names with a space, as is the default").conflicts("binary"))
    .addOption(new Option("-z, --zero", "end lines with a zero byte, and escape no names").conflicts("check"))
    .option("--ignore-missing", `${checks} skip files that aren't there`)
    .option("--quiet", `${checks} don't write OK`)
    .option("--status", `${checks} write nothing, only exit`)
    .option("--strict", `${checks} fail for lines that aren't checksums`)
    .option("-w, --warn", `${checks} name the lines that aren't checksums`)
    .addHelpText("after", HELP)
    .showHelpAfterError("(try pinless sum --help)")
    .exitOverride()
    .action(sum);
}

const HELP = `
Output, lists and their checks are those of sha256sum of coreutils. crc32c is
CRC-32C (Castagnoli), xxh3 is XXH3 with 64 bits and seed 0. Files are read by
direct I/O, several at a time, so the page cache stays as it was. Where that
isn't possible, a message says so.

Exit codes: 0 success; 1 a file couldn't be read, or a check failed; 2 wrong
usage.`;

async function sum(files: readonly string[], flags: Flags, command: Command): Promise<void> {
  const { algorithm, check = false, tag = false, zero = false, binary = false } = flags;
  const { ignoreMissing = false, quiet = false, status = false, strict = false, warn = false } = flags;
  if (!check && CHECK_ONLY.some((each) => flags[each] === true))
    command.error("error: --ignore-missing, --quiet, --status, --strict and --warn need --check");
  const names = files.length === 0 ? [STDIN] : files;
  const pool = new HashPool(algorithm);
  const reports = new Reports();
  try {
    if (check) {
      for (const list of names)
        await reading(list, async () => {
          const style = { ignoreMissing, quiet, status, strict, warn };
          if (!(await checkList(list, ALGORITHMS[algorithm], pool, style, reports))) process.exitCode = FAILED;
        });
    } else {
      for await (const [name, hashed] of pool.each(names, (each) => each)) {
        reports.hashed(name, hashed);
        if ("hex" in hashed) printNames(sumLine(ALGORITHMS[algorithm], hashed.hex, name, { tag, zero, binary }));
        else process.exitCode = FAILED;
      }
    }
    if (!status) reports.cached.tell(PROGRAM);
  } finally {
    pool.end();
  }
}

/** Reports a list that can't be read; the others are checked all the same. */
async function reading(list: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Error) || !("syscall" in error)) throw error;
    complain(PROGRAM, `${list}: ${systemReason(error)}`);
    process.exitCode = FAILED;
  }
}

class Reports implements CheckReports {
  readonly cached = new CachedFiles();

  complain(message: string): void {
    complain(PROGRAM, message);
  }

  hashed(name: string, hashed: Hashed): void {
    if ("code" in hashed) this.complain(`${name}: ${hashed.reason}`);
    else if (hashed.cached) this.cached.add(name);
  }
}
