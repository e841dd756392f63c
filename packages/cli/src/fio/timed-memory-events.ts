/** Operations on a job's memory that are repeated during its I/O: `mm_events=collapse@10ms,discard@1s`. */

import type { Arena, OperationReport } from "pinless";
import { memoryNodes } from "pinless/internal";
import type { Job, MemoryEvent } from "./job.js";
import type { MemoryEventCounts } from "./run-messages.js";

export interface RunningMemoryEvents {
  readonly counts: readonly MemoryEventCounts[];
  /** Resolves once the last operation has ended. */
  end(): Promise<void>;
}

export function startMemoryEvents({ mmEvents }: Job, arena: Arena | null): RunningMemoryEvents {
  const running = arena === null ? [] : mmEvents.map((event) => repeat(event, arena));
  return {
    counts: running.map(({ counts }) => counts),
    end: async () => {
      await Promise.all(running.map(({ end }) => end()));
    },
  };
}

function repeat(event: MemoryEvent, arena: Arena): { counts: MemoryEventCounts; end(): Promise<void> } {
  const counts: MemoryEventCounts = { operation: event.operation, done: 0, busyPages: 0, failed: null };
  let last: Promise<void> = Promise.resolve();
  let isRunning = false;
  const timer = setInterval(
    () => {
      // One at a time: an operation that takes longer than its period would pile up.
      if (isRunning) return;
      isRunning = true;
      last = perform(event.operation, arena, counts.done).then(
        ({ busy }) => {
          counts.done++;
          counts.busyPages += busy;
          isRunning = false;
        },
        (error: Error) => {
          counts.failed = error.message;
          clearInterval(timer);
        },
      );
    },
    Math.max(1, event.everyUs / 1e3),
  );
  return {
    counts,
    end: () => {
      clearInterval(timer);
      return last;
    },
  };
}

async function perform(operation: MemoryEvent["operation"], arena: Arena, turn: number): Promise<OperationReport> {
  switch (operation) {
    case "migrate": {
      const nodes = memoryNodes();
      return arena.migrate({ node: nodes[turn % nodes.length] ?? 0 });
    }
    case "protect": {
      await arena.protect("read");
      return arena.protect("readwrite");
    }
    default:
      return arena[operation]();
  }
}
