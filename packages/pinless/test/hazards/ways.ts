// The ways that memory is used for I/O. In all of them but the control nothing is pinned without need.
import type { EngineOptions } from "../../dist/index.js";
import { ioUringOff } from "../support/io-uring.js";

export interface Way {
  readonly name: string;
  readonly options: EngineOptions;
  /** Registered for life: what is done to memory fails, or harms. */
  readonly control: boolean;
}

const ring: readonly Way[] = [
  { name: "lease", options: { scheme: "io_uring", pin: "lease" }, control: false },
  { name: "per-io", options: { scheme: "io_uring", pin: "per-io" }, control: false },
  { name: "lifetime", options: { scheme: "io_uring", pin: "lifetime" }, control: true },
];

export const WAYS: readonly Way[] = [
  ...(ioUringOff() === false ? ring : []),
  { name: "aio", options: { scheme: "aio" }, control: false },
  { name: "direct", options: { scheme: "direct" }, control: false },
];
