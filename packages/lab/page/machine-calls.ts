/** Calls of the page to its worker, and what they answer. */

import type { SceneStep } from "../src/tour/compact-scene.js";
import type { ActionReport, TourAction } from "../src/tour/tour-actions.js";
import type { CompactionRound, TourFigures, TourOptions } from "../src/tour/tour-machine.js";

/** Looks of a machine after a call: a byte for each frame (an index of FRAME_STATES), and its figures. */
export interface Look {
  readonly states: Uint8Array;
  readonly figures: TourFigures;
}

/** Calls by name: arguments after the machine's name, and the answer. */
export interface Calls {
  open: { args: [options: TourOptions]; answer: Look };
  advance: { args: [ms: number]; answer: Look };
  read: { args: [reads: boolean]; answer: Look };
  act: { args: [action: TourAction]; answer: Look & { readonly report: ActionReport } };
  sceneStep: { args: [step: SceneStep]; answer: Look & { readonly rounds: readonly CompactionRound[] } };
  close: { args: []; answer: null };
}

export interface Call {
  readonly id: number;
  readonly machine: string;
  readonly name: keyof Calls;
  readonly args: readonly unknown[];
}

export type Reply = { readonly id: number } & ({ readonly answer: unknown } | { readonly error: string });
