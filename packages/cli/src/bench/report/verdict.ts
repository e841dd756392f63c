/** States the results in sentences. */

import { bytesText } from "../../command/figures.js";
import { median, ratios } from "../collect.js";
import { LEASE, LEASE_SMALL, LIFETIME, LIFETIME_SMALL, PER_IO } from "../configurations.js";
import {
  type BenchOperationFigures,
  type HostHuge,
  isSkipped,
  type LoadSummary,
  type Maybe,
  type Row,
  STORM_OPERATIONS,
} from "../report-schema.js";

/** Number of rounds below which a single disturbance decides the result. */
const FEW_ROUNDS = 3;

export function verdict(rows: readonly Row[], hostHuge: Maybe<HostHuge>): readonly string[] {
  const find = (name: string): Row | undefined => rows.find((row) => row.name === name);
  const lease = find(LEASE.name);
  const lifetime = find(LIFETIME_SMALL.name);
  const same = find(LIFETIME.name);
  const lines: string[] = [];
  if (lease !== undefined) lines.push(`${ranAs(lease, "leases")}: ${outcome(lease)}`);
  if (lifetime !== undefined) lines.push(`${ranAs(lifetime, "lifetime registrations")}: ${outcome(lifetime)}`);
  const unregistered = find(PER_IO.name);
  const kept = unregistered === undefined ? null : speedKept(unregistered);
  // A storm whose operations succeed costs speed, because paged-out memory has to come back; one that is refused
  // doesn't.
  if (kept !== null) lines.push(`for comparison, requests that register nothing: ${kept}`);
  const huge = hostHugeLine(hostHuge);
  if (huge !== null) lines.push(huge);
  if (lease === undefined || same === undefined) return lines;
  const small = ratio(lease.read4KiB, same.read4KiB);
  const large = ratio(lease.read128KiB, same.read128KiB);
  const cpu = cpuRatio(lease.read4KiB, same.read4KiB);
  if (small !== null && large !== null)
    lines.push(
      `lease / lifetime on the same arena: throughput ${small} at 4 KiB, ${large} at 128 KiB; ` +
        `processor time ${cpu} at 4 KiB`,
    );
  return lines;
}

function hostHugeLine(hostHuge: Maybe<HostHuge>): string | null {
  if (isSkipped(hostHuge)) return null;
  const got = (name: string): string | null => {
    const figures = hostHuge.rows.find((row) => row.name === name)?.figures;
    if (figures === undefined || isSkipped(figures)) return null;
    return percent(figures.hugePagesGot / Math.max(1, figures.hugePagesAsked));
  };
  const [pinned, leased, none] = [got(LIFETIME_SMALL.name), got(LEASE_SMALL.name), got("no buffers")];
  if (pinned === null || leased === null || none === null) return null;
  return (
    `huge pages that the host could still get: ${leased} with idle leases, ` +
    `${pinned} with lifetime registrations, ${none} without buffers`
  );
}

/** Names a row by the pin mode that really ran. */
function ranAs({ ran, pin }: Row, word: string): string {
  if (isSkipped(ran)) return word;
  if (ran.pin !== pin) return `${word} (ran ${ran.pin} here)`;
  if (ran.registeredShare < 0.5) return `${word} (${percent(1 - ran.registeredShare)} of the reads went per-io here)`;
  return word;
}

function speedKept({ storm4KiB, read4KiB }: Row): string | null {
  if (isSkipped(storm4KiB) || isSkipped(read4KiB)) return null;
  return `${percent(storm4KiB.throughputKept)} of the speed kept in the storm`;
}

function outcome(row: Row): string {
  const parts: string[] = [];
  if (!isSkipped(row.storm4KiB)) {
    const { operations, readsChecked, readsLost } = row.storm4KiB;
    const ran = STORM_OPERATIONS.map((kind) => operations[kind]).filter(
      (figures): figures is BenchOperationFigures => !isSkipped(figures),
    );
    const asked = ran.reduce((sum, { pagesAsked }) => sum + pagesAsked, 0);
    const done = ran.reduce((sum, { pagesDone }) => sum + pagesDone, 0);
    parts.push(`${count(done)} of ${count(asked)} pages done in the storm`);
    const kept = speedKept(row);
    if (kept !== null) parts.push(kept);
    if (readsChecked > 0) parts.push(`${count(readsLost)} of ${count(readsChecked)} reads lost in it`);
  }
  if (!isSkipped(row.lostAfterDiscard)) {
    const { blocksLost, blocksRead } = row.lostAfterDiscard;
    parts.push(`${count(blocksLost)} of ${count(blocksRead)} blocks lost after a discard`);
  }
  if (!isSkipped(row.lostAfterReclaim)) {
    const { blocksLost, blocksRead } = row.lostAfterReclaim;
    parts.push(`${count(blocksLost)} of ${count(blocksRead)} after reclaim`);
  }
  if (!isSkipped(row.rest)) parts.push(`${bytesText(row.rest.pinnedBytesAtRest)} pinned at rest`);
  if (!isSkipped(row.spawn)) parts.push(`spawn in ${milliseconds(row.spawn.medianMs)}`);
  return parts.length === 0 ? "nothing could be measured" : parts.join(", ");
}

/** Ratio with the quartiles of the rounds, which show if the machine was disturbed. */
function ratio(a: Maybe<LoadSummary>, b: Maybe<LoadSummary>): string | null {
  if (isSkipped(a) || isSkipped(b)) return null;
  const all = ratios(a, b);
  const middle = median(all).toFixed(2);
  if (all.length < FEW_ROUNDS) return `${middle}, very roughly,`;
  const at = (part: number): string => all[Math.round((all.length - 1) * part)]!.toFixed(2);
  return `${middle} (half of the rounds: ${at(0.25)} to ${at(0.75)})`;
}

function cpuRatio(a: Maybe<LoadSummary>, b: Maybe<LoadSummary>): string | null {
  return isSkipped(a) || isSkipped(b) ? null : (a.cpuUsPerRequest / b.cpuUsPerRequest).toFixed(2);
}

export function count(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(share > 0.995 || share < 0.0005 ? 0 : 1)} %`;
}

export function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : count(value)} ms`;
}
