/** The suites that a scheme has to pass. */

import { arenas } from "./arenas.js";
import type { Ground } from "./ground.js";
import { hazards } from "./hazards.js";
import { invalidations } from "./invalidations.js";
import { load } from "./load.js";
import { memoryManagement } from "./memory-management.js";
import { notifier } from "./notifier.js";
import { operations } from "./operations.js";
import { protection } from "./protection.js";
import { submission } from "./submission.js";
import { transfers } from "./transfers.js";
import { waiting } from "./waiting.js";

/** Suites of a scheme itself: requests, and the end of those that an invalidation waits for. */
export function requestSuites(ground: Ground): void {
  transfers(ground);
  submission(ground);
  waiting(ground);
  load(ground);
  hazards(ground);
  memoryManagement(ground);
  invalidations(ground);
}

/** Suites of arenas, their operations and the notifier: of the engine's code above the schemes. */
export function memorySuites(ground: Ground): void {
  arenas(ground);
  operations(ground);
  protection(ground);
  notifier(ground);
}

export function conformance(ground: Ground): void {
  requestSuites(ground);
  memorySuites(ground);
}
