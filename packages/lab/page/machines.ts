/** The page's side of its worker: machines by name. A worker is started by the first call. */

import type { Call, Calls, Reply } from "./machine-calls.js";

type Settle = { readonly resolve: (answer: never) => void; readonly reject: (error: Error) => void };

let worker: Worker | null = null;
let nextId = 1;
const waiting = new Map<number, Settle>();

function start(): Worker {
  const started = new Worker(new URL("machine-worker.js", import.meta.url), { type: "module" });
  started.addEventListener("message", ({ data }: MessageEvent<Reply>) => {
    const settle = waiting.get(data.id);
    waiting.delete(data.id);
    if ("error" in data) settle?.reject(new Error(data.error));
    else settle?.resolve(data.answer as never);
  });
  started.addEventListener("error", ({ message }) => {
    for (const { reject } of waiting.values())
      reject(new Error(`the model can't run in this browser: ${message || "its worker couldn't be loaded"}`));
    waiting.clear();
    worker = null;
  });
  return started;
}

export function callMachine<N extends keyof Calls>(
  machine: string,
  name: N,
  ...args: Calls[N]["args"]
): Promise<Calls[N]["answer"]> {
  worker ??= start();
  const call: Call = { id: nextId++, machine, name, args };
  return new Promise((resolve, reject) => {
    waiting.set(call.id, { resolve: resolve as Settle["resolve"], reject });
    worker?.postMessage(call);
  });
}
