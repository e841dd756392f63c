/**
 * Encoding of an explorer action as one number: its kind, the object that it's about, and a hook, which is an event in
 * the middle of the action.
 */

import { BEFORE_TAKE, DELIVER, ENTER, POPULATE, TAKE } from "./kernel.js";

// Of the engine's own thread.
export const SUBMIT = 0;
export const START = 1;
export const OPERATE = 2;
export const FINISH = 3;
export const CANCEL = 4;
export const MICROTASKS = 5;
export const SOON = 6;
export const WAKE = 7;
export const MESSAGE = 8;
export const TICK = 9;
/** The engine's clock ticks at the present time, without time passing before. */
export const LOOK_AT_CLOCK = 10;
export const STALL = 11;
export const HEAR_LOSS = 12;
/** Object of HEAR_LOSS if the engine concludes the loss that it was notified of. */
export const CONCLUSION = 1;
// Of the machine.
export const COMPLETE = 13;
export const FAIL = 14;
export const SHORTEN = 15;
export const LET_GO = 16;
export const TAG = 17;
export const RECLAIM = 18;
export const COMPACT = 19;
// Of other threads.
export const CALL = 20;
export const GO_ON = 21;
export const SEE = 22;
export const MONITOR = 23;
export const GIVE_UP = 24;
export const LOOK = 25;
export const MUST_HAVE_LEFT = 26;
export const CLOCK = 27;
export const SLEEP = 28;
export const SEE_NO_THREAD = 29;
export const LOSE = 30;
export const FOLLOW_AGAIN = 31;

export const KINDS = 32;
export const OBJECTS = 32;
export const ONE_HOOK = KINDS * OBJECTS;

/**
 * Hooks: the kernel refuses a lease or a populate, a request ends late, the kernel refuses a submission, or other
 * threads take a number of steps during a call.
 */
export const REFUSE_TAKE = 1;
export const REFUSE_POPULATE = 2;
export const LATE_END = 3;
export const REFUSE_SUBMISSION = 4;
export const FIRST_MEANWHILE = 5;
export const MEANWHILE = [
  { call: TAKE, name: "lease" },
  { call: POPULATE, name: "populate" },
  { call: ENTER, name: "submission" },
  { call: DELIVER, name: "completion" },
] as const;
export const MOST_STEPS = 7;
/**
 * First hook of those in which kswapd reclaims a page before or after a lease pins it, and a load by other code brings
 * it back, clean.
 */
export const FIRST_KSWAPD = FIRST_MEANWHILE + MEANWHILE.length * MOST_STEPS;
export const KSWAPD_COMES = [
  { call: BEFORE_TAKE, name: "before" },
  { call: POPULATE, name: "after" },
] as const;
