/** Reports to compare. */

import { FORMAT, type LoadSummary, type Report, type Row } from "../../dist/bench/report-schema.js";

interface RowOptions {
  readonly readsPerSecond?: number;
  readonly spawnMs?: number;
  readonly pinnedBytes?: number;
  readonly ranPin?: string;
}

const SKIPPED = { skipped: "not in this sample" };

export function sampleRow(name: string, options: RowOptions): Row {
  const { readsPerSecond = 1000, spawnMs = 5, pinnedBytes = 0, ranPin = "lease" } = options;
  const read: LoadSummary = {
    requestsPerSecond: readsPerSecond,
    mibPerSecond: 1,
    cpuUsPerRequest: 2,
    latency: { samples: 1, p50Us: 10, p99Us: 20, p999Us: 30 },
    requests: 100,
    readsChecked: 10,
    readsLost: 0,
    roundsRequestsPerSecond: [readsPerSecond],
  };
  return {
    name,
    label: name,
    note: "",
    scheme: "io_uring",
    pin: "lease",
    pages: "huge",
    ran: {
      scheme: "io_uring",
      pin: ranPin,
      direct: true,
      kernel: "6.18",
      filesystem: "ext4",
      registeredShare: 1,
      hugeShare: 1,
      degraded: [],
    },
    read4KiB: read,
    read128KiB: read,
    storm4KiB: SKIPPED,
    lostAfterDiscard: SKIPPED,
    lostAfterReclaim: SKIPPED,
    rest: { pinnedBytesUnderLoad: 0, pinnedBytesAtRest: pinnedBytes, afterMs: 100, residencyMaxMs: 0 },
    spawn: { bufferBytes: 1, pinnedBytes: 0, medianMs: spawnMs, samplesMs: [spawnMs], degraded: [] },
    revalidation: SKIPPED,
    migration: SKIPPED,
  };
}

export function sampleReport({ rows = [sampleRow("one", {})] }: { readonly rows?: readonly Row[] }): Report {
  return {
    pinless: "0.1.0",
    format: FORMAT,
    machine: {
      kernel: "6.18",
      arch: "x64",
      node: "v20",
      cpu: "a processor",
      cpus: 2,
      memoryBytes: 1,
      memoryAvailableBytes: 1,
      user: 0,
      memlockBytes: null,
      ioUringDisabled: 0,
      hugePages: "madvise",
      numaNodes: 1,
      swap: "none",
      swapReason: null,
    },
    settings: {
      file: "scratch",
      fileBytes: 1,
      filesystem: "ext4",
      inFlight: 32,
      sliceMs: 60,
      rounds: 1,
      stormEveryMs: 10,
      seconds: 100,
      quick: false,
    },
    rows,
    hostHugePages: SKIPPED,
    verdict: [],
    elapsedSeconds: 1,
  };
}
