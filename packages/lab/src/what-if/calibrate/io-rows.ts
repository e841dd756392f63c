/** Rows about throughput: the simulation of a what-if, with the device and the load of the measurement. */

import type { DesignName } from "../designs.js";
import { planWith } from "../plan.js";
import { simulateDesign } from "../run-design.js";
import { type CalibrationRow, type Measured, side } from "./row.js";

const KIB = 1024;
const MIB = 1024 * KIB;
type Changes = Parameters<typeof planWith>[0];

export function ioRows(seed: number): readonly CalibrationRow[] {
  const run = (design: DesignName, changes: Changes): number =>
    simulateDesign(planWith(changes), design, seed).requestsPerSecond;
  return [
    speed(run, 4 * KIB, 657_000, 542_000),
    speed(run, 128 * KIB, 59_000, 37_000),
    leased(run, 4 * KIB),
    leased(run, 128 * KIB),
    drained(run, 10, 1, "100 ms"),
    drained(run, 100, 0.9, "10 ms"),
  ];
}

type RunDesign = (design: DesignName, changes: Changes) => number;

function onZram(requestBytes: number, buffers: "registered" | "unregistered"): Changes {
  return {
    machine: { bytes: 1024 * MIB },
    buffers: { bytes: 32 * MIB, pages: "huge" },
    io: { depth: 32, requestBytes, registered: buffers === "registered" },
    device: { inline: true },
    run: { seconds: 0.02 },
  };
}

const ON_ZRAM = ["request", "javascript", "inlinePage"] as const;

function speed(
  run: RunDesign,
  requestBytes: number,
  registered: Measured | number,
  not: Measured | number,
): CalibrationRow {
  return {
    title: `reads of ${requestBytes / KIB} KiB a second from Node, ext4 on zram, 32 in flight`,
    unit: "a second",
    better: "more",
    sides: [
      side("registered", registered, run("gup", onZram(requestBytes, "registered"))),
      side("not", not, run("gup", onZram(requestBytes, "unregistered"))),
    ],
    mechanism: "one thread does it all, the device's copy included; pages of what isn't registered are found each time",
    inputs: [...ON_ZRAM, "perIo", "perIoPage"],
  };
}

/** The bench's figure for leases compared with registrations for life. */
function leased(run: RunDesign, requestBytes: number): CalibrationRow {
  const lifetime = run("gup", onZram(requestBytes, "registered"));
  return {
    title: `leases against registrations for life, ${requestBytes / KIB} KiB, nothing going on`,
    unit: "of their speed",
    better: "more",
    sides: [
      side("for life", 1, 1),
      side("leases", 1.02, run("pinless", onZram(requestBytes, "registered")) / lifetime),
    ],
    mechanism: "leases are taken once, and then used",
    inputs: [...ON_ZRAM, "take", "takeFolio", "takePart", "populateHugePage"],
  };
}

function drained(run: RunDesign, perSecond: number, measured: number, every: string): CalibrationRow {
  const changes: Changes = {
    machine: { bytes: 1024 * MIB },
    buffers: { bytes: 16 * MIB, pages: "small" },
    io: { depth: 32, requestBytes: 4 * KIB },
    device: {
      latencyUs: [
        [0, 133],
        [1, 133],
      ],
      parallel: 32,
    },
    events: { revoke: perSecond },
    run: { seconds: 0.5 },
  };
  return {
    title: `eight leases of 2 MiB in small pages drained and taken again every ${every}, ext4 on a loop device`,
    unit: "of the speed without",
    better: "more",
    sides: [side("never", 1, 1), side(every, measured, run("pinless", changes) / run("gup", changes))],
    mechanism:
      "I/O in flight ends, nothing begins; then each lease is given back, taken, and populated with its next use",
    inputs: [
      "take",
      "takeFolio",
      "give",
      "giveFolio",
      "populatePage",
      { measured: "241,000 reads a second with 32 in flight: 133 µs each" },
    ],
  };
}
