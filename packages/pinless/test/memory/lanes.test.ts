// Distribution of requests to several memory threads, by threads that end a request when the test says so.
import assert from "node:assert/strict";
import { test } from "node:test";
import { LaneScheduler } from "../../dist/memory/lanes.js";

class Threads {
  started = 0;
  failing: Error | null = null;
  readonly under = new Map<string, (result: string) => void>();
  readonly lanes: LaneScheduler<string, string>;

  constructor(most = 4) {
    this.lanes = new LaneScheduler(() => this.#start(), most);
  }

  #start() {
    this.started++;
    const { failing } = this;
    const thread = {
      alive: failing === null,
      idle: () => {},
      busy: () => {},
      end: async () => {
        thread.alive = false;
      },
      run: (request: string): Promise<string> =>
        failing !== null
          ? Promise.reject(failing)
          : new Promise((resolve, reject) => {
              this.under.set(request, (result) => {
                this.under.delete(request);
                if (result !== "dies") return resolve(result);
                thread.alive = false;
                reject(new Error("dies"));
              });
            }),
    };
    return thread;
  }

  async answer(request: string, result = "done"): Promise<void> {
    this.under.get(request)!(result);
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  }
}

test("Lanes: requests of one lane run in order; another lane runs on another thread at the same time", async () => {
  const threads = new Threads();
  const ended: string[] = [];
  const run = (lane: string, request: string): Promise<unknown> =>
    threads.lanes.run(lane, request).then((result) => ended.push(`${request} ${result}`));
  const all = [run("slow", "a"), run("slow", "b"), run("", "c")];
  assert.deepEqual([...threads.under.keys()], ["a", "c"]);
  await threads.answer("c");
  all.push(run("", "d"));
  assert.equal(threads.started, 2, "a thread that rests is taken first");
  await threads.answer("d");
  await threads.answer("a");
  await threads.answer("b");
  await Promise.all(all);
  assert.deepEqual(ended, ["c done", "d done", "a done", "b done"]);
  assert.equal(threads.started, 2);
});

test("Lanes: a thread that dies takes one request with it; the next of that lane goes on another", async () => {
  const threads = new Threads();
  const first = assert.rejects(threads.lanes.run("x", "a"), /dies/);
  const second = threads.lanes.run("x", "b");
  await threads.answer("a", "dies");
  await first;
  await threads.answer("b");
  assert.equal(await second, "done");
});

test("Lanes: with the maximum number of threads, a lane waits for one", async () => {
  const threads = new Threads(1);
  const first = threads.lanes.run("x", "a");
  const second = threads.lanes.run("y", "b");
  assert.deepEqual([...threads.under.keys()], ["a"]);
  await threads.answer("a");
  await threads.answer("b");
  assert.deepEqual(await Promise.all([first, second]), ["done", "done"]);
});

test("Lanes: if no more threads can start, existing ones do the work; without any it's an error", async () => {
  const threads = new Threads();
  threads.failing = Object.assign(new Error("no room: EAGAIN"), { code: "ERR_WORKER_INIT_FAILED" });
  await assert.rejects(threads.lanes.run("x", "a"), /no room/);
  threads.failing = null;
  const first = threads.lanes.run("x", "a");
  threads.failing = Object.assign(new Error("no room: EAGAIN"), { code: "ERR_WORKER_INIT_FAILED" });
  const second = threads.lanes.run("y", "b");
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  threads.failing = null;
  await threads.answer("a");
  await threads.answer("b");
  assert.deepEqual(await Promise.all([first, second]), ["done", "done"]);
});
