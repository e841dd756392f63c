/**
 * Interval tree: finds the ranges that overlap a given one. An AVL tree ordered by start, in which each node knows the
 * largest end below it, as the kernel's interval tree (include/linux/interval_tree_generic.h): O(log n) to insert and
 * remove, O(log n + hits) to search. Equal ranges are ordered by their insertion.
 */

import type { Range } from "./ranges.js";

interface Node<T> {
  readonly start: number;
  readonly end: number;
  readonly order: number;
  readonly value: T;
  left: Node<T> | null;
  right: Node<T> | null;
  height: number;
  maxEnd: number;
}

/** Handle of an interval, which `insert` returns and `remove` takes. */
export interface Interval extends Range {
  readonly order: number;
}

export class IntervalTree<T> {
  #root: Node<T> | null = null;
  #nextOrder = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  insert(r: Range, value: T): Interval {
    const order = this.#nextOrder++;
    const { start, end } = r;
    this.#root = insertNode(this.#root, { start, end, order, value, left: null, right: null, height: 1, maxEnd: end });
    this.#size++;
    return { start, end, order };
  }

  /** Removes an interval; returns false if it isn't in the tree. */
  remove(interval: Interval): boolean {
    const found = { yes: false };
    this.#root = removeNode(this.#root, interval, found);
    if (found.yes) this.#size--;
    return found.yes;
  }

  /** Values whose ranges overlap `r`, by start, then by age. */
  overlapping(r: Range): T[] {
    const hits: T[] = [];
    collect(this.#root, r, hits);
    return hits;
  }

  /** Like `overlapping(r).length > 0`, without the list. */
  overlapsAny(r: Range): boolean {
    let node = this.#root;
    while (node !== null) {
      if (node.start < r.end && r.start < node.end) return true;
      // If the left subtree reaches beyond `r.start`, it has a hit, or there is none: the right one starts later still.
      node = node.left !== null && node.left.maxEnd > r.start ? node.left : node.right;
    }
    return false;
  }
}

function precedes(a: Interval, b: Interval): boolean {
  return a.start < b.start || (a.start === b.start && a.order < b.order);
}

function heightOf<T>(node: Node<T> | null): number {
  return node === null ? 0 : node.height;
}

function refresh<T>(node: Node<T>): void {
  node.height = 1 + Math.max(heightOf(node.left), heightOf(node.right));
  node.maxEnd = Math.max(
    node.end,
    node.left?.maxEnd ?? Number.NEGATIVE_INFINITY,
    node.right?.maxEnd ?? Number.NEGATIVE_INFINITY,
  );
}

function rotateRight<T>(node: Node<T>, left: Node<T>): Node<T> {
  node.left = left.right;
  left.right = node;
  refresh(node);
  refresh(left);
  return left;
}

function rotateLeft<T>(node: Node<T>, right: Node<T>): Node<T> {
  node.right = right.left;
  right.left = node;
  refresh(node);
  refresh(right);
  return right;
}

function balance<T>(node: Node<T>): Node<T> {
  refresh(node);
  const { left, right } = node;
  const lean = heightOf(left) - heightOf(right);
  if (lean > 1 && left !== null) {
    if (left.right !== null && heightOf(left.right) > heightOf(left.left)) node.left = rotateLeft(left, left.right);
    return rotateRight(node, node.left as Node<T>);
  }
  if (lean < -1 && right !== null) {
    if (right.left !== null && heightOf(right.left) > heightOf(right.right))
      node.right = rotateRight(right, right.left);
    return rotateLeft(node, node.right as Node<T>);
  }
  return node;
}

function insertNode<T>(at: Node<T> | null, node: Node<T>): Node<T> {
  if (at === null) return node;
  if (precedes(node, at)) at.left = insertNode(at.left, node);
  else at.right = insertNode(at.right, node);
  return balance(at);
}

function removeNode<T>(at: Node<T> | null, key: Interval, found: { yes: boolean }): Node<T> | null {
  if (at === null) return null;
  if (at.start === key.start && at.order === key.order) {
    found.yes = true;
    if (at.left === null) return at.right;
    if (at.right === null) return at.left;
    let heir = at.right;
    while (heir.left !== null) heir = heir.left;
    const right = removeNode(at.right, heir, { yes: false });
    heir.left = at.left;
    heir.right = right;
    return balance(heir);
  }
  if (precedes(key, at)) at.left = removeNode(at.left, key, found);
  else at.right = removeNode(at.right, key, found);
  return balance(at);
}

function collect<T>(node: Node<T> | null, r: Range, hits: T[]): void {
  if (node === null || node.maxEnd <= r.start) return;
  collect(node.left, r, hits);
  if (node.start >= r.end) return;
  if (r.start < node.end) hits.push(node.value);
  collect(node.right, r, hits);
}
