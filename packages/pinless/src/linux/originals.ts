/**
 * Functions of Node's captured when this module is loaded. Fake timers of test frameworks, and programs that replace
 * `open` or `read` in node:fs, would otherwise stop all I/O, or recurse.
 */

import fs from "node:fs";
import timers from "node:timers";

export const { setImmediate, setInterval, clearInterval, setTimeout, clearTimeout } = timers;
export const { close, closeSync, fstatSync, ftruncateSync, open, openSync, read, readFileSync, readv, statfs } = fs;
export const { write, writeSync, writev } = fs;
export const openHandle = fs.promises.open;
export const queueMicrotask = globalThis.queueMicrotask;

const { performance } = globalThis;
/** performance.now(). */
export const now: () => number = performance.now.bind(performance);
