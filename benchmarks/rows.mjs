// The rows of bench:engine: loads of random reads, and the contenders that run them.

const KIB = 1024;
const small = [1, 8, 32, 128].map((depth) => ({ depth, block: 4 * KIB }));
const large = [64, 128].map((kib) => ({ depth: 32, block: kib * KIB }));
const [alone, , at32] = small;
const all = [...small, ...large];
const two = [at32, large[1]];

/**
 * Contenders with the loads that they run. `by` says what runs them: C's loop, fio, or a process with load.mjs. node:fs
 * reads by O_DIRECT descriptors: the page cache holds the file of a bed, so that reads through it meet no device.
 */
const CONTENDERS = [
  { name: "C", by: "c", loads: all },
  { name: "callback", by: "node", load: "callback", loads: all },
  { name: "promises", by: "node", load: "promise", loads: all },
  { name: "fio io_uring", by: "fio", ioengine: "io_uring", loads: [...small, large[1]] },
  { name: "fio libaio", by: "fio", ioengine: "libaio", loads: two },
  { name: "node:fs 4 threads", by: "node", load: "node", direct: true, threads: 4, loads: [alone, ...two] },
  { name: "node:fs 32 threads", by: "node", load: "node", direct: true, threads: 32, loads: two },
  { name: "node:fs io_uring", by: "node", load: "node", direct: true, uvRing: true, loads: [alone, at32] },
];

/** Contenders that run only if they're asked for. */
const EXTRA = [
  { name: "callback per-io", load: "callback", pin: "per-io" },
  { name: "callback lifetime", load: "callback", pin: "lifetime" },
  { name: "callback residency 10 ms", load: "callback", lease: { max: 10 } },
  { name: "callback 1000 discards/s", load: "callback", discards: 1000 },
  { name: "callback unfollowed", load: "callback", events: { userfaultfd: false } },
  { name: "node:fs cached 4 threads", load: "node", threads: 4 },
  { name: "node:fs cached 32 threads", load: "node", threads: 32 },
  ...["callback", "promise"].flatMap((load) => [
    { name: `aio ${load}`, load, scheme: "aio" },
    { name: `direct ${load} 4 threads`, load, scheme: "direct", threads: 4 },
    { name: `direct ${load} 32 threads`, load, scheme: "direct", threads: 32 },
  ]),
].map((contender) => ({ ...contender, by: "node", loads: two, extra: true }));

/**
 * Rows, the loads one after the other: those whose name ("callback 4 KiB depth 32") has one of the parts in `only`, by
 * whole words, or without `only` all that aren't extra. C's loop is always among them: ratios are to it.
 */
export function rowsOf(only) {
  const rows = all.flatMap((load) =>
    [...CONTENDERS, ...EXTRA]
      .filter(({ loads }) => loads.includes(load))
      .map(({ loads: _, ...contender }) => ({
        ...contender,
        ...load,
        contender: contender.name,
        name: `${contender.name} ${load.block / KIB} KiB depth ${load.depth}`,
      })),
  );
  const wanted = ({ name, extra }) =>
    only === undefined ? extra !== true : only.split(",").some((part) => ` ${name} `.includes(` ${part.trim()} `));
  const chosen = rows.filter(wanted);
  return rows.filter(
    (row) =>
      wanted(row) || (row.by === "c" && chosen.some(({ depth, block }) => depth === row.depth && block === row.block)),
  );
}
