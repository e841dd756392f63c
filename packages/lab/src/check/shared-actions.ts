/** Actions of a scenario with two engines on one memory. */

import { inWords, nameOfInvalidation, nameOfRequest, nameOfThread } from "./context.js";
import { messageInWords, TO_ATTACHED } from "./shared-messages.js";
import type { SharedWorld } from "./shared-world.js";
import type { ExplorableActions } from "./transition-system.js";

const SUBMIT = 0;
const COMPLETE = 1;
const TURN = 2;
const START = 3;
const FINISH = 4;
const DELIVER = 5;
const GO_ON = 6;
const ATTACH = 7;
const DETACH = 8;
const END_THREAD = 9;
const KINDS = 16;

export class SharedActions implements ExplorableActions {
  readonly #world: SharedWorld;
  readonly othersCanStep = false;

  constructor(world: SharedWorld) {
    this.#world = world;
    world.connect((action) => this.#act(action % KINDS, Math.floor(action / KINDS)));
  }

  maySleep(): boolean {
    return false;
  }

  areIndependent(): boolean {
    return false;
  }

  again(_action: number, _others: boolean, _into: Int32Array, from: number): number {
    return from;
  }

  list(into: Int32Array): number {
    const world = this.#world;
    const { requests, invalidations, foreign, detaches, threadEnds } = world.scenario;
    const { owner, attached, hasEnded } = world.now;
    let count = 0;
    const add = (kind: number, object = 0): void => {
      into[count++] = kind + KINDS * object;
    };
    for (let i = 0; i < requests.length; i++) {
      if (world.maySubmit(i)) add(SUBMIT, i);
      if (world.isInFlight(i)) add(COMPLETE, i);
    }
    if (owner.mayTurn) add(TURN, 0);
    if (attached.mayTurn && !hasEnded) add(TURN, 1);
    for (let j = 0; j < invalidations.length; j++) {
      if (world.mayStart(j)) add(START, j);
      if (world.mayFinish(j)) add(FINISH, j);
    }
    for (let queue = 0; queue < world.now.queues.length; queue++) if (world.mayDeliver(queue)) add(DELIVER, queue);
    for (let call = 0; call < foreign.length; call++) if (world.mayGoOn(call)) add(GO_ON, call);
    if (world.mayAttach) add(ATTACH);
    if (detaches > 0 && world.mayLeave) add(DETACH);
    if (threadEnds > 0 && world.now.isAttached && !hasEnded) add(END_THREAD);
    return count;
  }

  apply(): boolean {
    // `SharedWorld.perform` applies the action itself, as it does when it repeats a path.
    return true;
  }

  #act(kind: number, object: number): void {
    const world = this.#world;
    const { owner, attached } = world.now;
    switch (kind) {
      case SUBMIT:
        world.submit(object);
        break;
      case COMPLETE:
        world.engineOf(world.scenario.requests[object]!).complete(object);
        break;
      case TURN:
        (object === 0 ? owner : attached).turn();
        break;
      case START:
        world.start(object);
        break;
      case FINISH:
        world.finish(object);
        break;
      case DELIVER:
        world.deliver(object);
        break;
      case GO_ON:
        world.goOn(object);
        break;
      case ATTACH:
        world.attach();
        break;
      case DETACH:
        world.detach();
        break;
      default:
        world.endThread();
    }
  }

  actorOf(action: number): string {
    switch (action % KINDS) {
      case COMPLETE:
        return "device";
      case GO_ON:
        return "other code";
      case SUBMIT:
        return this.#world.scenario.requests[Math.floor(action / KINDS)]!.attached ? "attached" : "owner";
      case TURN:
        return Math.floor(action / KINDS) === 0 ? "owner" : "attached";
      case DELIVER:
        return Math.floor(action / KINDS) === TO_ATTACHED ? "attached" : "owner";
      case DETACH:
      case END_THREAD:
        return "attached";
      default:
        return "owner";
    }
  }

  describe(action: number): string {
    const { scenario, now } = this.#world;
    const object = Math.floor(action / KINDS);
    switch (action % KINDS) {
      case SUBMIT: {
        const { write, attached, ...pages } = scenario.requests[object]!;
        const what = write ? `write ${inWords(pages)} to its file` : `read its file into ${inWords(pages)}`;
        return `the ${attached ? "attached engine" : "owner"} submits ${nameOfRequest(object)}: ${what}`;
      }
      case COMPLETE:
        return `the device completes ${nameOfRequest(object)}`;
      case TURN:
        return `a turn of the ${object === 0 ? "owner" : "attached engine"}'s loop`;
      case START:
        return `the owner starts ${nameOfInvalidation(object)}: ${scenario.invalidations[object]!.event}`;
      case FINISH:
        return `${nameOfInvalidation(object)} is done, and ends`;
      case DELIVER:
        return messageInWords(now.queues[object]![0]!, scenario);
      case GO_ON:
        return `${nameOfThread(object)}: step ${now.calls[object]! + 1} of its ${scenario.foreign[object]!.call}`;
      case ATTACH:
        return "the memory is attached";
      case DETACH:
        return "the attached engine detaches the memory";
      default:
        return "the attached engine's thread ends";
    }
  }
}
