/** What can happen, told to a person: who does what. */

import * as K from "./action-codes.js";
import { nameOfInvalidation, nameOfRequest, nameOfThread, namesOfThreads, inWords as pagesInWords } from "./context.js";
import type { ExploredWorld } from "./explored-world.js";
import * as S from "./state.js";

export function inWords(world: ExploredWorld, action: number): string {
  const hook = Math.floor(action / K.ONE_HOOK);
  const what = describe(world, action % K.KINDS, Math.floor(action / K.KINDS) % K.OBJECTS);
  if (hook === 0) return what;
  if (hook === K.REFUSE_SUBMISSION) return `${what}; the kernel takes no submission`;
  if (hook === K.LATE_END) return `${what}; just before it sleeps, something ends`;
  if (hook < K.FIRST_MEANWHILE) return `${what}; the kernel refuses a ${hook === K.REFUSE_TAKE ? "lease" : "populate"}`;
  if (hook >= K.FIRST_KSWAPD) {
    const { name } = K.KSWAPD_COMES[(hook - K.FIRST_KSWAPD) % K.KSWAPD_COMES.length]!;
    const page = Math.floor((hook - K.FIRST_KSWAPD) / K.KSWAPD_COMES.length);
    return `${what}; just ${name} a lease is taken kswapd takes page ${page}, and a load of other code's brings it back`;
  }
  const steps = ((hook - K.FIRST_MEANWHILE) % K.MOST_STEPS) + 1;
  const call = K.MEANWHILE[Math.floor((hook - K.FIRST_MEANWHILE) / K.MOST_STEPS)]!.name;
  return `${what}; during its first ${call} other threads take ${steps} step${steps === 1 ? "" : "s"}`;
}

function describe(world: ExploredWorld, kind: number, object: number): string {
  const { scenario } = world.ground;
  const request = scenario.requests[object];
  const invalidation = scenario.invalidations[object];
  const call = scenario.foreign[object];
  switch (kind) {
    case K.SUBMIT:
      return `the program submits ${nameOfRequest(object)}: ${request!.write ? `write ${pagesInWords(request!)} to its file` : `read its file into ${pagesInWords(request!)}`}`;
    case K.START:
      return `the program starts ${nameOfInvalidation(object)}: ${invalidation!.event} of ${pagesInWords(invalidation!)}${invalidation!.blockable ? "" : ", which may not wait"}`;
    case K.OPERATE:
      return `the memory thread makes the call of ${nameOfInvalidation(object)}`;
    case K.FINISH:
      return `the program ends ${nameOfInvalidation(object)}, after its operation`;
    case K.CANCEL:
      return `the program cancels ${nameOfRequest(object)}`;
    case K.MICROTASKS:
      return "the engine has its turn (a microtask)";
    case K.SOON:
      return "the engine has its turn (soon)";
    case K.WAKE:
      return "the engine is woken, and has its turn";
    case K.MESSAGE:
      return `the engine hears from the monitor: ${world.monitor.nextMessage}`;
    case K.TICK:
      return "time passes, and the engine's clock looks";
    case K.LOOK_AT_CLOCK:
      return "the engine's clock looks";
    case K.STALL:
      return "time passes, and the engine's thread is busy";
    case K.COMPLETE:
      return `the device serves ${nameOfRequest(object)}`;
    case K.FAIL:
      return `the device fails ${nameOfRequest(object)} with EIO`;
    case K.SHORTEN:
      return `the device ends ${nameOfRequest(object)} after its first page`;
    case K.LET_GO:
      return `the kernel lets go of ${nameOfRequest(object)}'s pages`;
    case K.TAG:
      return `the kernel posts the tag of slot ${object}`;
    case K.RECLAIM:
      return `kswapd takes page ${object}`;
    case K.COMPACT:
      return `compaction moves page ${object}`;
    case K.CALL:
      return `${call!.own ? "the program's own thread" : nameOfThread(object)} calls ${call!.call === "unmap" ? "munmap" : "madvise(DONTNEED)"} on ${pagesInWords(call!)}${call!.call === "unmap" ? ": they're gone" : ""}, and ${call!.unseen ? "its event is there" : "waits"} (${nameOfThread(object)})`;
    case K.GO_ON:
      return `${nameOfThread(object)} goes on: its pages go, and it leaves its call`;
    case K.SEE:
      return `the monitor sees who waits: ${namesOfThreads(world.threads.visible) || "our memory thread"}`;
    case K.SLEEP:
      return `${nameOfThread(object)} sleeps, so that the monitor can see it`;
    case K.SEE_NOBODY:
      return "the monitor sees nobody who waits, though there's an event: it announces all that it follows";
    case K.MONITOR:
      return `the monitor ${world.monitor.nextStep}`;
    case K.GIVE_UP:
      return "the monitor gives up waiting for the engine";
    case K.LOOK:
      return "the monitor sees that threads whose events it has read have left their calls";
    case K.MUST_HAVE_LEFT:
      return "time passes: threads whose events were read, but whom nobody saw, must have left their calls";
    case K.LOSE:
      return "the monitor's thread ends, and lets everybody go";
    case K.HEAR_LOSS:
      return world.ground.w[S.LOST] === 1
        ? "the engine hears that the monitor has ended"
        : "time passes, and whoever the monitor had let go has left: the engine concludes what it had begun and announced";
    case K.FOLLOW_AGAIN:
      return "another monitor is started, and follows all that the one that has ended did";
    default:
      return "the monitor sees that a lease is due, and that the engine doesn't look";
  }
}
