// The moving of pages between nodes, over a move_pages(2) whose nodes are made up: this machine may have one only.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runBlocking } from "../../dist/memory/linux-memory-kernel.js";
import type { Steps } from "../../dist/memory/memory-kernel.js";
import { migrate, type PageMover } from "../../dist/memory/migrate.js";
import { at, VirtualPatience } from "./virtual-patience.js";

const PAGE = 4096;
const HUGE = 2 << 20;
const BASE = 0x7f00_0000_0000;
const [ENOENT, EAGAIN, EACCES, EFAULT, EBUSY, ENODEV] = [2, 11, 13, 14, 16, 19] as const;

interface Folio {
  node: number;
  /** Held by a pin: it's taken off its list, and then doesn't move. */
  pinned?: boolean;
  /** Another process has it too. */
  shared?: boolean;
  /** NUMA balancing has unmapped it to see which processor uses it: move_pages finds no page. */
  hidden?: boolean;
  /** The number of calls that find it isolated by other code. */
  elsewhereFor?: number;
}

type Slot = Folio | "nowhere" | "zeros";

/**
 * As do_pages_move and do_pages_stat of mm/migrate.c: what can be taken is put on a list, which goes when something
 * can't be taken.
 */
class Nodes extends VirtualPatience implements PageMover {
  readonly hugePageBytes = HUGE;
  readonly pages = new Map<number, Slot>();
  /** Calls that move, by how many pages they name. */
  readonly moves: number[] = [];
  failWith = 0;

  add(slot: Slot, first: number, count: number): void {
    for (let page = first; page < first + count; page++) this.pages.set(BASE + page * PAGE, slot);
  }

  touch(pages: readonly number[]): void {
    for (const page of pages) {
      const slot = this.pages.get(page)!;
      assert.notEqual(slot, "nowhere", "a load from what isn't there makes a page of it");
      if (typeof slot !== "string") slot.hidden = false;
    }
  }

  movePages(pages: readonly number[], node: number | null, status: Int32Array): Steps<number> {
    return at(this.#movePages(pages, node, status));
  }

  #movePages(pages: readonly number[], node: number | null, status: Int32Array): number {
    if (node === null) {
      for (const [i, page] of pages.entries()) status[i] = this.#where(this.pages.get(page)!);
      return 0;
    }
    this.moves.push(pages.length);
    if (this.failWith !== 0) return this.failWith;
    const list = new Set<Folio>();
    const flush = (): boolean => {
      let left = false;
      for (const folio of list) {
        if (folio.pinned === true) left = true;
        else folio.node = node;
      }
      list.clear();
      return left;
    };
    for (const [i, page] of pages.entries()) {
      const slot = this.pages.get(page)!;
      const answer = this.#take(slot, node, list);
      if (answer > 0) continue;
      status[i] = answer === 0 ? node : answer;
      if (flush()) return pages.length - i;
    }
    return flush() ? 1 : 0;
  }

  #where(slot: Slot): number {
    if (slot === "nowhere") return -ENOENT;
    return slot === "zeros" || slot.hidden === true ? -EFAULT : slot.node;
  }

  #take(slot: Slot, node: number, list: Set<Folio>): number {
    if (slot === "nowhere" || slot === "zeros" || slot.hidden === true) return this.#where(slot);
    if (slot.node === node) return 0;
    if (slot.shared === true) return -EACCES;
    if ((slot.elsewhereFor ?? 0) > 0) {
      slot.elsewhereFor!--;
      return -EBUSY;
    }
    if (list.has(slot)) return -EBUSY;
    list.add(slot);
    return 1;
  }
}

function run(nodes: Nodes, pages: number): { done: number; busy: number; errno: number } {
  const range = { start: BASE, end: BASE + pages * PAGE };
  const { pages: asked, huge, ...result } = runBlocking(migrate(range, 1, nodes));
  assert.equal(asked, pages);
  assert.equal(huge, null);
  return result;
}

function smallPages(nodes: Nodes, first: number, count: number): Folio[] {
  return Array.from({ length: count }, (_, i) => {
    const folio = { node: 0 };
    nodes.add(folio, first + i, 1);
    return folio;
  });
}

test("migrate moves small pages by one call for a huge page's worth", () => {
  const nodes = new Nodes();
  smallPages(nodes, 0, 1024);
  assert.deepEqual(run(nodes, 1024), { done: 1024, busy: 0, errno: 0 });
  assert.deepEqual(nodes.moves, [512, 512]);
  assert.deepEqual(run(nodes, 1024), { done: 1024, busy: 0, errno: 0 });
  assert.deepEqual(nodes.moves, [512, 512], "what is there isn't moved again");
});

test("migrate moves a huge page once, although 511 of its pages report EBUSY", () => {
  const nodes = new Nodes();
  nodes.add({ node: 0 }, 0, 512);
  assert.deepEqual(run(nodes, HUGE / PAGE), { done: 512, busy: 0, errno: 0 });
  assert.deepEqual(nodes.moves, [512]);
});

test("migrate counts pages without memory as done", () => {
  const nodes = new Nodes();
  nodes.add("nowhere", 0, 100);
  nodes.add("zeros", 100, 100);
  smallPages(nodes, 200, 10);
  nodes.add({ node: 1 }, 210, 10);
  assert.deepEqual(run(nodes, 220), { done: 220, busy: 0, errno: 0 });
  assert.deepEqual(nodes.moves, [10]);
});

test("migrate retries pages that are held for a moment", () => {
  const nodes = new Nodes();
  const folios = smallPages(nodes, 0, 64);
  for (const i of [0, 20, 63]) folios[i]!.elsewhereFor = 3;
  assert.deepEqual(run(nodes, 64), { done: 64, busy: 0, errno: 0 });
  assert.deepEqual(nodes.moves, [64, 3, 3, 3]);
});

test("migrate reports pinned pages as busy after a bounded number of attempts, and moves all others", () => {
  const nodes = new Nodes();
  nodes.add({ node: 0, pinned: true }, 0, 512);
  // Folios of 64 KiB, two of them pinned; and small pages, one of them pinned.
  for (let folio = 0; folio < 32; folio++)
    nodes.add({ node: 0, pinned: folio === 0 || folio === 9 }, 512 + folio * 16, 16);
  smallPages(nodes, 1024, 512)[100]!.pinned = true;
  assert.deepEqual(run(nodes, 1536), { done: 1536 - 512 - 32 - 1, busy: 545, errno: -EBUSY });
  assert.ok(nodes.moves.length > 3 && nodes.moves.length < 40, `${nodes.moves.length} calls`);
});

test("migrate doesn't wait for pages shared with another process", () => {
  const nodes = new Nodes();
  smallPages(nodes, 0, 10)[4]!.shared = true;
  assert.deepEqual(run(nodes, 10), { done: 9, busy: 1, errno: -EACCES });
  assert.deepEqual(nodes.moves, [10]);
});

test("migrate gives up if the kernel refuses the call itself, and retries after EAGAIN", () => {
  const nodes = new Nodes();
  smallPages(nodes, 0, 10);
  nodes.failWith = -ENODEV;
  assert.deepEqual(run(nodes, 10), { done: 0, busy: 10, errno: -ENODEV });
  assert.deepEqual(nodes.moves, [10]);
  nodes.failWith = -EAGAIN;
  assert.deepEqual(run(nodes, 10), { done: 0, busy: 10, errno: -EAGAIN });
  assert.ok(nodes.moves.length > 2, "it was tried once only");
});

test("migrate finds pages that NUMA balancing has hidden, also while they're moved", () => {
  const nodes = new Nodes();
  for (const folio of smallPages(nodes, 0, 20).slice(5, 9)) folio.hidden = true;
  nodes.add({ node: 0, hidden: true, pinned: true }, 512, 512);
  nodes.add("zeros", 20, 492);
  assert.deepEqual(run(nodes, 1024), { done: 512, busy: 512, errno: -EBUSY });
  const again = new Nodes();
  const folios = smallPages(again, 0, 20);
  const { movePages } = again;
  let calls = 0;
  again.movePages = (pages, node, status) => {
    // Between the look and the move.
    if (node !== null && calls++ === 0) folios[3]!.hidden = true;
    return movePages.call(again, pages, node, status);
  };
  assert.deepEqual(run(again, 20), { done: 20, busy: 0, errno: 0 });
  assert.ok(folios.every(({ node }) => node === 1));
});
