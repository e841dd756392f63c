/** The worker in which machines run, so that the page stays responsive. */

import { type SceneStep, takeSceneStep } from "../src/tour/compact-scene.js";
import { act, type TourAction } from "../src/tour/tour-actions.js";
import { TourMachine, type TourOptions } from "../src/tour/tour-machine.js";
import type { Call, Calls, Look, Reply } from "./machine-calls.js";

// A page that isn't isolated from other origins has no shared memory, and one thread needs none.
globalThis.SharedArrayBuffer ??= ArrayBuffer as unknown as SharedArrayBufferConstructor;

const machines = new Map<string, TourMachine>();
/** Calls are answered one after the other: a machine's time passes in one of them only. */
let last: Promise<void> = Promise.resolve();

function look(machine: TourMachine): Look {
  return { states: machine.states().slice(), figures: machine.figures() };
}

function machineOf(name: string): TourMachine {
  const machine = machines.get(name);
  if (machine === undefined) throw new Error(`there is no machine "${name}": open it first`);
  return machine;
}

async function answer({ machine: name, name: call, args }: Call): Promise<Calls[keyof Calls]["answer"]> {
  if (call === "close") {
    machines.delete(name);
    return null;
  }
  if (call === "open") {
    const machine = await TourMachine.open(args[0] as TourOptions);
    machines.set(name, machine);
    return look(machine);
  }
  const machine = machineOf(name);
  switch (call) {
    case "advance":
      await machine.advance(args[0] as number);
      return look(machine);
    case "read":
      machine.setReading(args[0] as boolean);
      return look(machine);
    case "act": {
      const report = await act(machine, args[0] as TourAction);
      return { ...look(machine), report };
    }
    case "sceneStep": {
      const rounds = await takeSceneStep(machine, args[0] as SceneStep);
      return { ...look(machine), rounds };
    }
  }
}

async function reply(call: Call): Promise<void> {
  const { id } = call;
  try {
    const answered = await answer(call);
    const states = answered === null ? [] : [answered.states.buffer];
    postMessage({ id, answer: answered } satisfies Reply, { transfer: states });
  } catch (error) {
    postMessage({ id, error: String(error) } satisfies Reply);
  }
}

addEventListener("message", ({ data }: MessageEvent<Call>) => {
  last = last.then(() => reply(data));
});
