/** Kinds of arenas: those that programs make, and those of the engine's own memory. */

/** Treatment of an arena's memory: if it may be leased, and if memory calls of other code on it are followed. */
export interface ArenaKind {
  readonly leased: boolean;
  readonly followed: boolean;
}

export const ANONYMOUS: ArenaKind = { leased: true, followed: true };
export const MAPPED: ArenaKind = { leased: false, followed: true };
export const STAGING: ArenaKind = { leased: true, followed: false };
export const PIPES: ArenaKind = { leased: false, followed: false };
