/**
 * Huge pages that the host can still get while buffers lie scattered over its memory (harms/scattered.ts), in the
 * manner of mmtests' thpscale. They're requested through /sys/kernel/mm/hugepages, which touches no memory: nearly all
 * free memory can be requested in less than a second, and is given back at once (huge-pages-process.ts).
 */

import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { HUGE_PAGE_BYTES, meminfoBytes, PAGE_BYTES } from "pinless/internal";
import { isUnavailable } from "../bench-error.js";
import { type EngineReads, LEASE_SMALL, LIFETIME, LIFETIME_SMALL } from "../configurations.js";
import type { HostHuge, HostHugeFigures, HostHugeRow, Maybe } from "../report-schema.js";
import { BenchWorker } from "../worker.js";
import type { Target } from "../worker-protocol.js";

const MIB = 1 << 20;
const GIB = 1024 * MIB;
const STEP_PAGES = 256;
const RAISE_LIMIT_MS = 3000;
/** Share of the available memory to use; nothing else of the bench is large at that time. */
const MAX_SHARE = 0.4;
const MIN_REGION_BYTES = 512 * MIB;
const MAX_REGION_BYTES = 2 * GIB;

/** Order to the process that requests huge pages, and its answer. */
export interface HugePagesOrder {
  /** Memory that stays free. */
  readonly leaveBytes: number;
  readonly mostPages: number;
  readonly stepPages: number;
  readonly limitMs: number;
}

export interface RaisedHugePages {
  readonly asked: number;
  readonly got: number;
  readonly elapsedMs: number;
  readonly stepsMs: readonly number[];
  readonly compactStalls: number;
  readonly compactFails: number;
  readonly migrated: number;
}

export type HugePagesReply =
  | { readonly ready: true }
  | { readonly raised: RaisedHugePages }
  | { readonly unavailable: string };

interface HostConfiguration {
  readonly name: string;
  readonly label: string;
  readonly note: string;
  readonly reads: EngineReads | null;
}

/** The configurations, those most likely to fail last: after a failed compaction the kernel tries less for a while. */
const WAYS: readonly HostConfiguration[] = [
  { name: "no buffers", label: "no buffers", note: "the control: nothing lies there", reads: null },
  way(LEASE_SMALL, "read into, then idle: the leases have gone"),
  way(LIFETIME_SMALL, "registered for ever"),
  way(LIFETIME, "the fair control: registered for ever in huge pages, which don't scatter"),
];

/** Number of measurements. */
export const HOST_WAYS = WAYS.length;

function way({ name, label, reads }: typeof LIFETIME, note: string): HostConfiguration {
  return { name, label, note, reads: reads as EngineReads };
}

export interface HostHugeOptions {
  readonly target: Target;
  readonly quick: boolean;
  readonly signal: AbortSignal;
  /** Begins a step; false if no time is left for it. */
  step(): boolean;
  leftMs(): number;
  failed(what: string, error: unknown): { skipped: string };
}

export async function hostHugePages(options: HostHugeOptions): Promise<Maybe<HostHuge>> {
  if (process.geteuid?.() !== 0) return { skipped: "huge pages of the host: needs root" };
  if (!existsSync("/sys/kernel/mm/hugepages/hugepages-2048kB"))
    return { skipped: "this kernel has no pool of huge pages of 2 MiB" };
  const sizes = options.quick ? { ballastBytes: 0, regionBytes: 64 * MIB } : sizesFor();
  if (typeof sizes === "string") return { skipped: sizes };
  const keeper = new HugePagesProcess();
  const worker = new BenchWorker(LIFETIME_SMALL, options.target);
  const ended = (): void => void Promise.all([worker.close(), keeper.close()]);
  options.signal.addEventListener("abort", ended, { once: true });
  try {
    const refused = await keeper.ready();
    if (refused !== null) return { skipped: refused };
    const rows: HostHugeRow[] = [];
    for (const { reads, ...named } of WAYS) {
      const figures = options.step()
        ? await measure(keeper, worker, sizes, reads, options).catch((error: unknown) =>
            options.failed(`huge pages of the host, ${named.name}`, error),
          )
        : { skipped: "there was no time left" };
      rows.push({ ...named, figures });
    }
    return { regionBytes: sizes.regionBytes, rows };
  } finally {
    options.signal.removeEventListener("abort", ended);
    await Promise.all([worker.close(), keeper.close()]);
  }
}

type Sizes = { readonly ballastBytes: number; readonly regionBytes: number };

/** Sizes to use, or the reason why there is too little memory. */
function sizesFor(): Sizes | string {
  const round = (bytes: number): number => Math.floor(bytes / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES;
  const ballastBytes = round(brokenBytes() + GIB / 4);
  const regionBytes = round(Math.min(MAX_REGION_BYTES, MAX_SHARE * meminfoBytes("MemAvailable") - ballastBytes));
  if (regionBytes >= MIN_REGION_BYTES) return { ballastBytes, regionBytes };
  return "there is too little free memory in whole pieces to lay buffers out in";
}

/** Free memory in pieces smaller than a huge page. */
export function brokenBytes(): number {
  let pages = 0;
  for (const line of readFileSync("/proc/buddyinfo", "utf8").trim().split("\n")) {
    // A line is "Node 0, zone Normal 21 23 985 …": the numbers of free pieces of 1, 2, 4 … pages.
    const counts = line.replace(/^.*zone\s+\S+\s+/, "").split(/\s+/);
    for (const [order, count] of counts.slice(0, 9).entries()) pages += Number(count) * 2 ** order;
  }
  return pages * PAGE_BYTES;
}

async function measure(
  keeper: HugePagesProcess,
  worker: BenchWorker,
  sizes: Sizes,
  reads: EngineReads | null,
  { quick, leftMs }: HostHugeOptions,
): Promise<Maybe<HostHugeFigures>> {
  try {
    const laid = await worker.run({ kind: "scatter", ...sizes, reads }, leftMs());
    const raised = await keeper.raise({
      leaveBytes: Math.max(512 * MIB, totalmem() * 0.02),
      mostPages: quick ? STEP_PAGES : Number.MAX_SAFE_INTEGER,
      stepPages: STEP_PAGES,
      limitMs: Math.min(RAISE_LIMIT_MS, leftMs()),
    });
    const { blocks } = await worker.run({ kind: "unscatter" }, leftMs());
    const stepsMs = [...raised.stepsMs].sort((a, b) => a - b);
    const ms = (value = 0): number => Math.round(value * 10) / 10;
    return {
      pin: laid.pin,
      bufferBytes: laid.bufferBytes,
      pinnedBytes: laid.pinnedBytes,
      blocksBefore: laid.blocks,
      blocksAfter: blocks,
      hugePagesAsked: raised.asked,
      hugePagesGot: raised.got,
      missingBytes: (raised.asked - raised.got) * HUGE_PAGE_BYTES,
      elapsedMs: ms(raised.elapsedMs),
      stepPages: STEP_PAGES,
      stepP50Ms: ms(stepsMs[stepsMs.length >> 1]),
      stepMaxMs: ms(stepsMs.at(-1)),
      compactStalls: raised.compactStalls,
      compactFails: raised.compactFails,
      hostPagesMigrated: raised.migrated,
    };
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    return { skipped: (error as Error).message };
  }
}

/** The process that requests huge pages. */
class HugePagesProcess {
  readonly #child = fork(new URL("../huge-pages-process.js", import.meta.url), [], {
    detached: true,
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  readonly #gone = once(this.#child, "exit").then(() => ({
    unavailable: "the process that asks for huge pages ended",
  }));
  readonly #first = this.#next();

  /** Resolves to null once it's ready, or to the reason why it can't be. */
  async ready(): Promise<string | null> {
    const said = await this.#first;
    return "unavailable" in said ? said.unavailable : null;
  }

  async raise(order: HugePagesOrder): Promise<RaisedHugePages> {
    const answer = this.#next();
    this.#child.send(order);
    const said = await answer;
    if ("raised" in said) return said.raised;
    throw new Error("unavailable" in said ? said.unavailable : "an answer that wasn't asked for");
  }

  #next(): Promise<HugePagesReply> {
    return Promise.race([once(this.#child, "message").then(([said]) => said as HugePagesReply), this.#gone]);
  }

  /** Resolves once the host has its memory back. */
  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#gone;
  }
}
