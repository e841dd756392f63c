/**
 * State of the page that a link carries, in the hash of its address: `#scenes?scene=compact&seed=7&step=2`. A server
 * never sees it, so that it's the same on any host.
 */

export interface Link {
  /** Id of a view. */
  readonly view: string;
  /** Parameters of the view: scene, seed, design, step, and a view's own. */
  readonly params: Readonly<Record<string, string>>;
}

/** Goes to another state: parameters are merged with those that are there, and `null` takes one out. */
export type Go = (to: { readonly view?: string; readonly params?: Readonly<Record<string, string | null>> }) => void;

export interface ViewProps {
  readonly link: Link;
  readonly go: Go;
}

/** Parameters that all views understand, and keep when another view is chosen. */
const SHARED = ["seed", "design"];

export function parseLink(hash: string, firstView: string): Link {
  const [view = "", query = ""] = hash.replace(/^#/, "").split("?", 2);
  return { view: view === "" ? firstView : view, params: Object.fromEntries(new URLSearchParams(query)) };
}

export function hashOf({ view, params }: Link): string {
  const query = new URLSearchParams(params).toString();
  return query === "" ? `#${view}` : `#${view}?${query}`;
}

export function follow(link: Link, { view = link.view, params = {} }: Parameters<Go>[0]): Link {
  const kept = Object.entries(link.params).filter(([name]) => view === link.view || SHARED.includes(name));
  const merged = Object.entries({ ...Object.fromEntries(kept), ...params });
  return { view, params: Object.fromEntries(merged.filter((entry): entry is [string, string] => entry[1] !== null)) };
}

/** A whole number of a link, or `otherwise` if it has none that lies within the bounds. */
export function numberIn(link: Link, name: string, otherwise: number, least: number, most: number): number {
  const text = link.params[name] ?? "";
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  return value >= least && value <= most ? value : otherwise;
}

/** One of the words that a parameter may have, or the first of them. */
export function wordIn<T extends string>(link: Link, name: string, words: readonly [T, ...T[]]): T {
  return words.find((word) => word === link.params[name]) ?? words[0];
}
