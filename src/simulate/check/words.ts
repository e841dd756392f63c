/** What can happen, told to a person: who does what. */

import { nameOfInvalidation, nameOfRequest, nameOfThread, namesOfThreads, inWords as pagesInWords } from "./ground.js";
import {
  CALL,
  CANCEL,
  COMPACT,
  COMPLETE,
  FAIL,
  FINISH,
  FIRST_KSWAPD,
  FIRST_MEANWHILE,
  GIVE_UP,
  GO_ON,
  HEAR_LOSS,
  KINDS,
  KSWAPD_COMES,
  LATE_END,
  LET_GO,
  LOOK,
  LOOK_AT_CLOCK,
  LOSE,
  MEANWHILE,
  MESSAGE,
  MICROTASKS,
  MONITOR,
  MOST_STEPS,
  OBJECTS,
  ONE_HOOK,
  OPERATE,
  RECLAIM,
  REFUSE_SUBMISSION,
  REFUSE_TAKE,
  SEE,
  SEE_NOBODY,
  SEE_OURS,
  SHORTEN,
  SLEEP,
  SOON,
  STALL,
  START,
  SUBMIT,
  TAG,
  TICK,
  WAKE,
} from "./kinds.js";
import * as S from "./state.js";
import type { World } from "./world.js";

export function inWords(world: World, action: number): string {
  const hook = Math.floor(action / ONE_HOOK);
  const what = describe(world, action % KINDS, Math.floor(action / KINDS) % OBJECTS);
  if (hook === 0) return what;
  if (hook === REFUSE_SUBMISSION) return `${what}; the kernel takes no submission`;
  if (hook === LATE_END) return `${what}; just before it sleeps, something ends`;
  if (hook < FIRST_MEANWHILE) return `${what}; the kernel refuses a ${hook === REFUSE_TAKE ? "lease" : "populate"}`;
  if (hook >= FIRST_KSWAPD) {
    const { name } = KSWAPD_COMES[(hook - FIRST_KSWAPD) % KSWAPD_COMES.length]!;
    const page = Math.floor((hook - FIRST_KSWAPD) / KSWAPD_COMES.length);
    return `${what}; just ${name} a lease is taken kswapd takes page ${page}, and a load of other code's brings it back`;
  }
  const steps = ((hook - FIRST_MEANWHILE) % MOST_STEPS) + 1;
  const call = MEANWHILE[Math.floor((hook - FIRST_MEANWHILE) / MOST_STEPS)]!.name;
  return `${what}; during its first ${call} other threads take ${steps} step${steps === 1 ? "" : "s"}`;
}

function describe(world: World, kind: number, object: number): string {
  const { scenario } = world.ground;
  const request = scenario.requests[object];
  const invalidation = scenario.invalidations[object];
  const call = scenario.foreign[object];
  switch (kind) {
    case SUBMIT:
      return `the program submits ${nameOfRequest(object)}: ${request!.write ? `write ${pagesInWords(request!)} to its file` : `read its file into ${pagesInWords(request!)}`}`;
    case START:
      return `the program starts ${nameOfInvalidation(object)}: ${invalidation!.event} of ${pagesInWords(invalidation!)}${invalidation!.blockable ? "" : ", which may not wait"}`;
    case OPERATE:
      return `the memory thread makes the call of ${nameOfInvalidation(object)}`;
    case FINISH:
      return `the program ends ${nameOfInvalidation(object)}, after its operation`;
    case CANCEL:
      return `the program cancels ${nameOfRequest(object)}`;
    case MICROTASKS:
      return "the engine has its turn (a microtask)";
    case SOON:
      return "the engine has its turn (soon)";
    case WAKE:
      return "the engine is woken, and has its turn";
    case MESSAGE:
      return `the engine hears from the monitor: ${world.messages.nextMessage}`;
    case TICK:
      return "time passes, and the engine's clock looks";
    case LOOK_AT_CLOCK:
      return "the engine's clock looks";
    case STALL:
      return "time passes, and the engine's thread is busy";
    case COMPLETE:
      return `the device serves ${nameOfRequest(object)}`;
    case FAIL:
      return `the device fails ${nameOfRequest(object)} with EIO`;
    case SHORTEN:
      return `the device ends ${nameOfRequest(object)} after its first page`;
    case LET_GO:
      return `the kernel lets go of ${nameOfRequest(object)}'s pages`;
    case TAG:
      return `the kernel posts the tag of slot ${object}`;
    case RECLAIM:
      return `kswapd takes page ${object}`;
    case COMPACT:
      return `compaction moves page ${object}`;
    case CALL:
      return `${call!.own ? "the program's own thread" : nameOfThread(object)} calls ${call!.call === "unmap" ? "munmap" : "madvise(DONTNEED)"} on ${pagesInWords(call!)}${call!.call === "unmap" ? ": they're gone" : ""}, and ${call!.unseen ? "its event is there" : "waits"} (${nameOfThread(object)})`;
    case GO_ON:
      return `${nameOfThread(object)} goes on: its pages go, and it leaves its call`;
    case SEE:
      return `the monitor sees who waits: ${namesOfThreads(world.monitor.visible)}`;
    case SLEEP:
      return `${nameOfThread(object)} sleeps, so that the monitor can see it`;
    case SEE_NOBODY:
      return "the monitor sees nobody who waits, though there's an event: it announces all that it follows";
    case SEE_OURS:
      return "the monitor sees that our own memory thread waits, and lets it go";
    case MONITOR:
      return "the monitor goes on";
    case GIVE_UP:
      return "the monitor gives up waiting for the engine";
    case LOOK:
      return `the monitor sees that ${world.monitor.together(object)} left`;
    case LOSE:
      return "the monitor's thread ends, and lets everybody go";
    case HEAR_LOSS:
      return world.ground.w[S.LOST] === 1
        ? "the engine hears that the monitor has ended"
        : "time passes, and whoever the monitor had let go has left: the engine settles what it had begun and announced";
    default:
      return "the monitor's lease clock takes a step";
  }
}
