/** What the machine's kernel and its other processes do beside the engine, each with its own mean time between two. */

import { lock, unlock } from "../model/memlock.js";
import { hint, khugepaged } from "../model/placement.js";
import { Children, type ChildrenParts } from "./children.js";

const HUGE_PAGES = 512;
/** A fork costs as much as 200 requests, a huge page as ten: in a run whose requests are held for long, neither comes more often for that. */
const MOST_FORKS = 1 / 100;
const MOST_HUGE_PAGES = 1 / 20;

export interface DaemonParts extends ChildrenParts {
  /** Runs it again and again, with so many milliseconds between two on average; 0: never. */
  readonly often: (name: string, meanMs: number, run: () => void, mostPerRequest?: number) => void;
  /** Something may have changed on this page. */
  readonly touched: (page: number) => void;
}

export function startDaemons(parts: DaemonParts): void {
  const { swarm, machine, requests, often, touched, trace } = parts;
  /** A step that is about a page of some buffer. */
  const onPages = (name: string, meanMs: number, run: (page: number) => void, mostPerRequest?: number): void => {
    const buffer = machine.random.stream(`${name}: page`);
    const said = `${name}: page %`;
    const step = (): void => {
      const page = requests.firstPage(buffer.below(requests.buffers.length));
      trace.tell(said, [page]);
      run(page);
      touched(page);
    };
    often(name, meanMs, step, mostPerRequest);
  };
  onPages("reclaim", swarm.reclaimMs, (page) => machine.reclaim(page));
  onPages("compaction", swarm.compactionMs, (page) => machine.migrate(page));
  onPages("NUMA balancing", swarm.balancingMs, (page) => hint(machine, page));
  onPages("khugepaged", swarm.khugepagedMs, (page) => khugepaged(machine, page - (page % HUGE_PAGES)), MOST_HUGE_PAGES);
  const node = machine.random.stream("node");
  often("scheduler", 4 * swarm.balancingMs, () => machine.runOn(0, node.below(swarm.nodes)));
  if (swarm.memlockPages > 0) often("neighbour", swarm.neighbourMs, neighbour(parts));
  if (swarm.forkMs === 0) return;
  const children = new Children(parts);
  often("fork", swarm.forkMs, () => children.fork(), MOST_FORKS);
  often("child", swarm.forkMs / 8, () => children.touch());
}

/** Another process of the user, that locks memory now and then: what is left of the limit comes and goes. */
function neighbour({ machine, swarm }: DaemonParts): () => void {
  const pages = machine.random.stream("neighbour locks");
  let locked = 0;
  return () => {
    unlock(machine, 0, locked);
    const wanted = pages.below(2 * swarm.memlockPages);
    locked = lock(machine, 0, wanted) === 0 ? wanted : 0;
  };
}
