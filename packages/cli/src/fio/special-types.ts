/** Types of options with a small language of their own. */

import type { Direction, Distribution, MemoryEvent, Pattern, PerDirection, ServiceType, Share } from "./job.js";
import { JobError } from "./job-error.js";
import { everyDirection, type OptionType } from "./option-types.js";
import { parseBytes, parseNumber, parseTimeUs } from "./quantities.js";

/** Value of `rw`. */
export interface Workload {
  readonly directions: readonly Direction[];
  readonly isRandom: boolean;
  readonly ioPerOffset: number;
  readonly skipBytes: number;
}

const WORKLOADS: Readonly<Record<string, readonly [readonly Direction[], boolean]>> = {
  read: [["read"], false],
  write: [["write"], false],
  rw: [["read", "write"], false],
  readwrite: [["read", "write"], false],
  randread: [["read"], true],
  randwrite: [["write"], true],
  randrw: [["read", "write"], true],
};

export const WORKLOAD: OptionType<Workload> = {
  name: `${Object.keys(WORKLOADS).join(", ")}; also :number`,
  read(text, kbBase) {
    const [name = "", more] = text.split(":");
    const known = Object.hasOwn(WORKLOADS, name) ? WORKLOADS[name] : undefined;
    if (known === undefined) {
      const why = name.includes("trim") ? "discards of devices aren't supported" : `one of ${Object.keys(WORKLOADS)}`;
      throw new JobError(`"${name}" can't be run: ${why}`);
    }
    const [directions, isRandom] = known;
    const number = more === undefined ? null : parseBytes(more, kbBase);
    if (isRandom && number !== null && number < 1) throw new JobError(`"${more}" I/Os for an offset: at least 1`);
    return { directions, isRandom, ioPerOffset: isRandom ? (number ?? 1) : 1, skipBytes: isRandom ? 0 : (number ?? 0) };
  },
};

/** `bssplit=4k/60:64k/40`; shares without a number divide what the others leave. */
export const BLOCK_SPLIT: OptionType<PerDirection<readonly Share[]>> = {
  name: "size/percent:…; or read,write,trim",
  read(text, kbBase) {
    const splits = text.split(",").map((part) => shares(part, (size) => parseBytes(size, kbBase)));
    const [read, write = read, trim = write] = splits as [readonly Share[], ...(readonly Share[])[]];
    return { read, write, trim };
  },
};

function shares(text: string, size: (text: string) => number): readonly Share[] {
  const given = text.split(":").map((entry) => {
    const [bytes = "", percent = ""] = entry.split("/");
    return {
      bytes: size(bytes),
      percent: percent === "" || percent === "0" ? null : parseNumber(percent.replace(/%$/, "")),
    };
  });
  const sum = given.reduce((total, { percent }) => total + (percent ?? 0), 0);
  const open = given.filter(({ percent }) => percent === null).length;
  if (given.some(({ bytes, percent }) => bytes < 1 || (percent ?? 0) < 0))
    throw new JobError(`sizes of at least 1 byte and percentages of at least 0 are needed: "${text}"`);
  if (sum > 100) throw new JobError(`the percentages of "${text}" add up to ${sum}, more than 100`);
  const rest = open === 0 ? 0 : Math.floor((100 - sum) / open);
  // fio draws from them in this order.
  return given.map(({ bytes, percent }) => ({ bytes, percent: percent ?? rest })).sort((a, b) => a.percent - b.percent);
}

const DEFAULTS = { zipf: 1.1, pareto: 0.2, normal: 50 };

/** `random_distribution=zipf:1.2`, with the place of the centre (0 to 1) after another colon. */
export const DISTRIBUTION: OptionType<PerDirection<Distribution>> = {
  name: "random, zipf:theta, pareto:power, normal:deviation",
  read(text) {
    const [kind = "", parameter, middle] = text.split(":");
    if (kind !== "random" && kind !== "zipf" && kind !== "pareto" && kind !== "normal")
      throw new JobError(`one of random, zipf, pareto, normal is needed, not "${kind}"`);
    const center = middle === undefined ? null : parseNumber(middle);
    if (center !== null && (center < 0 || center > 1)) throw new JobError(`a centre from 0 to 1 is needed: "${text}"`);
    if (kind === "random") return everyDirection<Distribution>({ kind });
    const number = parameter === undefined ? DEFAULTS[kind] : parseNumber(parameter);
    if (kind === "zipf") {
      if (number <= 0 || number === 1) throw new JobError(`theta of zipf is above 0 and isn't 1: "${text}"`);
      return everyDirection<Distribution>({ kind, theta: number, center });
    }
    if (kind === "pareto") {
      if (number <= 0 || number >= 1) throw new JobError(`the power of pareto is between 0 and 1: "${text}"`);
      return everyDirection<Distribution>({ kind, power: number, center });
    }
    if (number < 0 || number > 100) throw new JobError(`the deviation of normal is from 0 to 100: "${text}"`);
    return everyDirection<Distribution>({ kind, deviation: number, center });
  },
};

/** Order in which files are used, with the number of I/Os on each. */
export const SERVICE: OptionType<{ readonly kind: ServiceType; readonly count: number }> = {
  name: "random, roundrobin, sequential; also :number",
  read(text) {
    const [kind = "", count] = text.split(":");
    if (kind !== "random" && kind !== "roundrobin" && kind !== "sequential")
      throw new JobError(`one of random, roundrobin, sequential is needed, not "${kind}"`);
    return { kind, count: count === undefined ? 1 : Math.max(1, parseNumber(count)) };
  },
};

/**
 * A pattern: parts of hexadecimal (`0xdeadbeef`), decimal (`-12`), `"text"` or `%o` (the offset), next to each other.
 */
export const PATTERN: OptionType<Pattern | null> = {
  name: '0x…, number, "text", %o; next to each other',
  read(text) {
    const bytes: number[] = [];
    const offsetsAt: number[] = [];
    const part = /\s*(?:0x([\da-f]+)|"([^"]*)"|'([^']*)'|(%o)|(-?\d+))/iy;
    while (part.lastIndex < text.trimEnd().length) {
      const from = part.lastIndex;
      const found = part.exec(text);
      if (found === null) throw new JobError(`the pattern can't be understood from "${text.slice(from)}" on`);
      const [, hex, double, single, offset, decimal] = found;
      if (hex !== undefined) bytes.push(...Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex"));
      else if (offset !== undefined) {
        offsetsAt.push(bytes.length);
        bytes.push(0, 0, 0, 0, 0, 0, 0, 0);
      } else if (decimal !== undefined) bytes.push(...decimalBytes(Number(decimal)));
      else bytes.push(...Buffer.from(double ?? single ?? ""));
    }
    if (bytes.length === 0) throw new JobError("the pattern is empty");
    if (bytes.length > 512) throw new JobError(`a pattern has at most 512 bytes, not ${bytes.length}`);
    return { bytes: Uint8Array.from(bytes), offsetsAt };
  },
};

/** Bytes of a number, least significant first, without zeros at the end. */
function decimalBytes(value: number): number[] {
  const four = [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];
  if (value < 0) return four;
  while (four.length > 1 && four.at(-1) === 0) four.pop();
  return four;
}

const OPERATIONS = ["collapse", "discard", "migrate", "pageOut", "protect"] as const;

/** `mm_events=collapse@10ms,discard@1s` */
export const MEMORY_EVENTS: OptionType<readonly MemoryEvent[]> = {
  name: "operation@time,…",
  read: (text) =>
    text.split(",").map((entry) => {
      const [name = "", period = ""] = entry.trim().split("@");
      const operation = OPERATIONS.find((each) => each.toLowerCase() === name.toLowerCase());
      if (operation === undefined) throw new JobError(`one of ${OPERATIONS.join(", ")} is needed, not "${name}"`);
      const everyUs = parseTimeUs(period, 1e3);
      if (everyUs < 1) throw new JobError(`a period such as 10ms is needed, not "${period}"`);
      return { operation, everyUs };
    }),
};
