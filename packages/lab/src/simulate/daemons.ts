/**
 * Daemons: activities of the machine's kernel and of other processes, each with its own mean time between two events.
 */

import { lock, unlock } from "../model/memlock-account.js";
import { hint, khugepaged } from "../model/page-placement.js";
import { Children, type ChildrenParts } from "./children.js";
import type { Pace } from "./pace.js";

const HUGE_PAGES = 512;
/** Maximum number of forks, and of huge pages, per request: they cost as much as 200 and ten requests. */
const MOST_FORKS = 1 / 200;
const MOST_HUGE_PAGES = 1 / 20;
const MOST_TOUCHES = 1 / 8;

export interface DaemonParts extends ChildrenParts {
  readonly pace: Pace;
  /** Called after an event that may have changed this page. */
  readonly touched: (page: number) => void;
}

export function startDaemons(parts: DaemonParts): void {
  const { swarm, machine, requests, pace, touched, trace } = parts;
  /** A step that is about a page of some buffer. */
  const onPages = (name: string, run: (page: number) => void): (() => void) => {
    const buffer = machine.random.stream(`${name}: page`);
    const said = `${name}: page %`;
    return () => {
      const page = requests.firstPage(buffer.below(requests.buffers.length));
      trace.tell(said, [page]);
      trace.lanes?.instant("kernel", name, { page });
      run(page);
      touched(page);
    };
  };
  const often = (name: string, meanMs: number, run: (page: number) => void): void =>
    pace.often(name, meanMs, onPages(name, run));
  often("reclaim", swarm.reclaimMs, (page) => machine.memory.reclaim(page));
  often("compaction", swarm.compactionMs, (page) => machine.memory.migrate(page));
  often("NUMA balancing", swarm.balancingMs, (page) => hint(machine, page));
  const collapses = onPages("khugepaged", (page) => khugepaged(machine, page - (page % HUGE_PAGES)));
  pace.storms("khugepaged", swarm.khugepagedMs, collapses, MOST_HUGE_PAGES);
  const node = machine.random.stream("node");
  pace.often("scheduler", 4 * swarm.balancingMs, () => machine.tables.runOn(0, node.below(swarm.nodes)));
  if (swarm.memlockPages > 0) pace.often("neighbour", swarm.neighbourMs, neighbour(parts));
  if (swarm.forkMs === 0) return;
  const children = new Children(parts);
  pace.storms("fork", swarm.forkMs, () => children.fork(), MOST_FORKS);
  pace.storms("child", swarm.forkMs / 8, () => children.touch(), MOST_TOUCHES);
}

/** Another process of the user, that locks memory now and then: what is left of the limit comes and goes. */
function neighbour({ machine, swarm }: DaemonParts): () => void {
  const pages = machine.random.stream("neighbour locks");
  let locked = 0;
  return () => {
    unlock(machine.frames, 0, locked);
    const wanted = pages.below(2 * swarm.memlockPages);
    locked = lock(machine.frames, 0, wanted) === 0 ? wanted : 0;
  };
}
