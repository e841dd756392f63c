/** The memory port on the machine: the operations that ship, in virtual time. */

import {
  alignUp,
  LARGEST_PAGE_BYTES,
  type Mapping,
  type Memory,
  type MemoryRequest,
  type MemoryResult,
  PAGE_BYTES,
  runOperation,
} from "pinless/portable";
import type { Machine } from "./machine.js";
import { type ModelMemoryHost, ModelMemoryKernel } from "./model-memory-kernel.js";

export class ModelMemory implements Memory {
  readonly #machine: Machine;
  readonly #kernel: ModelMemoryKernel;

  constructor(host: ModelMemoryHost) {
    this.#machine = host.machine;
    this.#kernel = new ModelMemoryKernel(host);
  }

  map(bytes: number): Mapping {
    const buffer = this.#machine.newMemory(alignUp(bytes, LARGEST_PAGE_BYTES));
    return { buffer, address: this.#machine.mapMemory(buffer) };
  }

  async run(request: MemoryRequest): Promise<MemoryResult> {
    const steps = runOperation(request, this.#kernel);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      await step.value;
    }
  }

  explainNoRoom(bytes: number): string | null {
    const most = this.#machine.size.frames * PAGE_BYTES;
    return bytes <= most ? null : `an arena of ${bytes} bytes doesn't fit: the simulated machine has ${most} bytes`;
  }

  explainNoCollapse(): null {
    return null;
  }

  /** Nothing forbids it here, be it to the only node. */
  explainNoMigration(): null {
    return null;
  }

  nodes(): readonly number[] {
    return Array.from({ length: this.#machine.frames.nodes }, (_, node) => node);
  }

  hasSwap(): boolean {
    return this.#machine.size.swapSlots > 0;
  }
}
