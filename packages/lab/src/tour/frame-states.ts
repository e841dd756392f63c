/** States of frames, as a map of memory shows them. */

import type { Machine } from "../model/machine.js";
import { FRAME_FLAGS, HUGE, HUGE_PAGES, IN_FLIGHT, IN_USE, PINS, WRITEBACK } from "../model/tables.js";

/** A frame's state is the index of its word. A frame in several of these states has the one that holds it most. */
export const FRAME_STATES = ["free", "mapped", "pinned", "leased", "in flight", "writeback", "moved", "huge"] as const;
export type FrameState = (typeof FRAME_STATES)[number];

const [FREE, MAPPED, PINNED, LEASED, BUSY, WRITING, MOVED, IN_HUGE_PAGE] = [0, 1, 2, 3, 4, 5, 6, 7];

/**
 * Writes the state of every frame to `states`. `leases` is true if pins are those of leases; `moved` marks the frames
 * to which the last operation has moved pages.
 */
export function frameStates(machine: Machine, leases: boolean, moved: Uint8Array, states: Uint8Array): void {
  const held = leases ? LEASED : PINNED;
  for (let frame = 0; frame < states.length; frame++) {
    const flags = machine.frames.frame(frame, FRAME_FLAGS);
    if ((flags & IN_USE) === 0) states[frame] = FREE;
    else if (machine.frames.frame(frame, IN_FLIGHT) > 0) states[frame] = BUSY;
    else if (machine.frames.frame(frame, PINS) > 0) states[frame] = held;
    else if ((flags & WRITEBACK) !== 0) states[frame] = WRITING;
    else if ((flags & HUGE) !== 0) states[frame] = IN_HUGE_PAGE;
    else states[frame] = moved[frame] === 1 ? MOVED : MAPPED;
  }
}

export function countStates(states: Uint8Array): Record<FrameState, number> {
  const counts = new Array<number>(FRAME_STATES.length).fill(0);
  for (const state of states) counts[state]!++;
  return Object.fromEntries(FRAME_STATES.map((state, i) => [state, counts[i]!])) as Record<FrameState, number>;
}

/** First frames of the areas of 2 MiB that are free: each is a huge page that the kernel could give now. */
export function freeAreas(states: Uint8Array): number[] {
  const areas: number[] = [];
  for (let first = 0; first + HUGE_PAGES <= states.length; first += HUGE_PAGES)
    if (states.subarray(first, first + HUGE_PAGES).every((state) => state === FREE)) areas.push(first);
  return areas;
}
