/** Requests of the model's disk. */

import assert from "node:assert/strict";
import type { Kernel } from "../../dist/model/model-kernel.js";

/** Takes a request from its submission, which must have succeeded, to the moment at which its pages are let go. */
export function finish(on: Kernel, request: number): void {
  assert.ok(request >= 0, `errno ${-request}`);
  while (!on.disk.serve(request));
  on.disk.complete(request);
  on.disk.release(request);
}
