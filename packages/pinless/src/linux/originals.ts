/**
 * Node's own functions as they were when this module was loaded. Fake timers of test frameworks, and whoever puts an `open` or a `read` of
 * their own into node:fs, replace them later: here that would stop all I/O, or go round in circles.
 */

import fs from "node:fs";
import timers from "node:timers";

export const { setImmediate, setInterval, clearInterval, setTimeout, clearTimeout } = timers;
export const { close, closeSync, fstatSync, open, openSync, read, readFileSync, readv, statfs, write, writev } = fs;
export const openHandle = fs.promises.open;
export const queueMicrotask = globalThis.queueMicrotask;

const { performance } = globalThis;
/** As performance.now(). */
export const now: () => number = performance.now.bind(performance);
