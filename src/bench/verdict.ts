/** What the figures say, in plain words. */

import { ratioByRounds } from "./collect.js";
import { LEASE, LIFETIME, LIFETIME_SAME_ARENA } from "./configurations.js";
import {
  isSkipped,
  type LoadSummary,
  type Maybe,
  type OperationFigures,
  type Row,
  STORM_OPERATIONS,
} from "./figures.js";

/** With fewer, one disturbance is the result. */
const FEW_ROUNDS = 3;

export function verdict(rows: readonly Row[]): readonly string[] {
  const find = (name: string): Row | undefined => rows.find((row) => row.name === name);
  const lease = find(LEASE.name);
  const lifetime = find(LIFETIME.name);
  const same = find(LIFETIME_SAME_ARENA.name);
  const lines: string[] = [];
  if (lease !== undefined) lines.push(`${ranAs(lease, "leases")}: ${outcome(lease)}`);
  if (lifetime !== undefined) lines.push(`${ranAs(lifetime, "lifetime registrations")}: ${outcome(lifetime)}`);
  if (lease !== undefined && same !== undefined) {
    const small = ratio(lease.read4KiB, same.read4KiB);
    const large = ratio(lease.read128KiB, same.read128KiB);
    const storm = isSkipped(lease.storm4KiB)
      ? null
      : `leases keep ${percent(lease.storm4KiB.throughputKept)} of theirs in the storm`;
    const parts = [
      small === null ? null : `${small} at 4 KiB`,
      large === null ? null : `${large} at 128 KiB`,
      storm,
    ].filter((part) => part !== null);
    const rough = !isSkipped(lease.read4KiB) && lease.read4KiB.roundsRequestsPerSecond.length < FEW_ROUNDS;
    if (parts.length > 0)
      lines.push(`throughput, lease / lifetime on the same arena${rough ? ", very roughly" : ""}: ${parts.join(", ")}`);
  }
  return lines;
}

/** A row is called what it was, not what it should have been. */
function ranAs({ ran, pin }: Row, word: string): string {
  if (isSkipped(ran)) return word;
  if (ran.pin !== pin) return `${word} (ran ${ran.pin} here)`;
  if (ran.registeredShare < 0.5) return `${word} (${percent(1 - ran.registeredShare)} of the reads went per-io here)`;
  return word;
}

function outcome(row: Row): string {
  const parts: string[] = [];
  if (!isSkipped(row.storm4KiB)) {
    const { operations, readsChecked, readsLost } = row.storm4KiB;
    const ran = STORM_OPERATIONS.map((kind) => operations[kind]).filter(
      (figures): figures is OperationFigures => !isSkipped(figures),
    );
    const asked = ran.reduce((sum, { pagesAsked }) => sum + pagesAsked, 0);
    const done = ran.reduce((sum, { pagesDone }) => sum + pagesDone, 0);
    parts.push(`${count(done)} of ${count(asked)} pages done in the storm`);
    if (readsChecked > 0) parts.push(`${count(readsLost)} of ${count(readsChecked)} reads in it lost`);
  }
  if (!isSkipped(row.lostAfterDiscard)) {
    const { blocksLost, blocksRead } = row.lostAfterDiscard;
    parts.push(`${count(blocksLost)} of ${count(blocksRead)} blocks lost after a discard`);
  }
  if (!isSkipped(row.lostAfterReclaim)) {
    const { blocksLost, blocksRead } = row.lostAfterReclaim;
    parts.push(`${count(blocksLost)} of ${count(blocksRead)} after reclaim`);
  }
  if (!isSkipped(row.rest)) parts.push(`${bytes(row.rest.pinnedBytesAtRest)} pinned at rest`);
  if (!isSkipped(row.spawn)) parts.push(`spawn in ${milliseconds(row.spawn.medianMs)}`);
  return parts.length === 0 ? "nothing could be measured" : parts.join(", ");
}

function ratio(a: Maybe<LoadSummary>, b: Maybe<LoadSummary>): string | null {
  return isSkipped(a) || isSkipped(b) ? null : ratioByRounds(a, b).toFixed(2);
}

export function count(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(share > 0.995 || share < 0.0005 ? 0 : 1)} %`;
}

export function bytes(value: number): string {
  if (value === 0) return "0 bytes";
  const units = ["bytes", "KiB", "MiB", "GiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const shown = value / 1024 ** power;
  return `${shown.toFixed(Number.isInteger(shown) ? 0 : 1)} ${units[power]}`;
}

export function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : count(value)} ms`;
}
