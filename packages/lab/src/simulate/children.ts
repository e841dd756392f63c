/**
 * Child processes that the program forks. Each must see its parent's memory as it was at the fork, whatever is read
 * into it later, and its own stores.
 */

import { violated } from "pinless/portable";
import { exit } from "../model/fork.js";
import type { Machine } from "../model/machine.js";
import { WAIT } from "../model/page-tables.js";
import type { Oracle } from "./oracle.js";
import type { Requests } from "./requests.js";
import type { Swarm } from "./swarm.js";
import type { Trace } from "./trace.js";

/** Maximum number of children at a time. */
export const CHILDREN = 3;
const EFAULT = -14;
/** First content that children store, counting down. No other part of a run stores such contents. */
const FIRST_CONTENT = -1_000_000;

interface Child {
  readonly process: number;
  /** Its parent's pages of each buffer at the fork; -1 if other code had taken the page by then. */
  readonly pages: Int32Array;
  /** By page of each buffer: the content it must see, and 1 if it may also see zeros (after a lazy discard). */
  readonly content: Int32Array;
  readonly orZero: Uint8Array;
}

export interface ChildrenParts {
  readonly swarm: Swarm;
  readonly machine: Machine;
  readonly oracle: Oracle;
  readonly requests: Requests;
  readonly trace: Trace;
}

export class Children {
  readonly #parts: ChildrenParts;
  readonly #living: Child[] = [];
  readonly #draw;
  #nextContent = FIRST_CONTENT;

  constructor(parts: ChildrenParts) {
    this.#parts = parts;
    const stream = (name: string) => parts.machine.random.stream(name);
    this.#draw = {
      life: stream("child lives ms"),
      child: stream("which child"),
      page: stream("child's page"),
      store: stream("child stores"),
    };
  }

  /** The parent's page for an index over all pages of all buffers. */
  #parentPage(i: number): number {
    const { requests, swarm } = this.#parts;
    return requests.firstPage(Math.floor(i / swarm.requestPages)) + (i % swarm.requestPages);
  }

  fork(): void {
    const { machine, oracle, requests, swarm, trace } = this.#parts;
    const process = Array.from({ length: CHILDREN }, (_, i) => i + 1).find(
      (each) => !this.#living.some((child) => child.process === each),
    );
    if (process === undefined) return;
    const pages = new Int32Array(requests.buffers.length * swarm.requestPages);
    const content = new Int32Array(pages.length);
    const orZero = new Uint8Array(pages.length);
    for (let i = 0; i < pages.length; i++) {
      const page = this.#parentPage(i);
      pages[i] = oracle.knows(page) ? page : -1;
      content[i] = swarm.inherit ? machine.memory.peek(page) : EFAULT;
      orZero[i] = oracle.orZero(page) ? 1 : 0;
    }
    const copied = machine.fork(process);
    // In the proposal's kernel, fork waits for I/O in flight: this one is given up.
    if (copied === WAIT) return;
    if (copied < 0) violated("STATE", `fork failed with ${copied}`);
    trace.note("process % is forked; % pinned pages are copied", [process, copied]);
    trace.lanes?.instant("kernel", "fork", { process, copied });
    const child = { process, pages, content, orZero };
    this.#living.push(child);
    machine.clock.after(this.#draw.life.upTo(4 * swarm.forkMs), () => this.#end(child));
  }

  /** Has one child check a page, or store to it. */
  touch(): void {
    const child = this.#living[this.#draw.child.below(CHILDREN)];
    if (child === undefined) return;
    const i = this.#draw.page.below(child.content.length);
    if (child.pages[i] === -1) return;
    this.#look(child, i);
    if (!this.#draw.store.chance(1 / 2) || child.content[i] === EFAULT) return;
    child.content[i] = this.#nextContent--;
    child.orZero[i] = 0;
    this.#parts.machine.memory.store(this.#pageOf(child, i), child.content[i]!);
  }

  #pageOf({ process, pages }: Child, i: number): number {
    return process * this.#parts.machine.size.pages + pages[i]!;
  }

  #look(child: Child, i: number): void {
    const page = child.pages[i]!;
    if (page === -1) return;
    const found = this.#parts.machine.memory.load(this.#pageOf(child, i));
    const content = child.content[i]!;
    if (found === content || (found === 0 && child.orZero[i] === 1 && content !== EFAULT)) return;
    violated(
      "LINEAR",
      `child ${child.process} has ${found} on page ${page}, where ${content} was at the fork, or is its own`,
    );
  }

  #end(child: Child): void {
    for (let i = 0; i < child.content.length; i++) this.#look(child, i);
    exit(this.#parts.machine, child.process);
    this.#living.splice(this.#living.indexOf(child), 1);
    this.#parts.trace.note("process % exits", [child.process]);
  }
}
