/** Renders actions as the lines of a counterexample. */

import * as K from "./action-codes.js";
import { nameOfInvalidation, nameOfRequest, nameOfThread, namesOfThreads, inWords as pagesInWords } from "./context.js";
import type { ExploredWorld } from "./explored-world.js";

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
    return `${what}; just ${name} a lease is taken, kswapd takes page ${page}, and a load by other code brings it back`;
  }
  const steps = ((hook - K.FIRST_MEANWHILE) % K.MOST_STEPS) + 1;
  const call = K.MEANWHILE[Math.floor((hook - K.FIRST_MEANWHILE) / K.MOST_STEPS)]!.name;
  return `${what}; during its first ${call} other threads take ${steps} step${steps === 1 ? "" : "s"}`;
}

/** Names the actor of an action of this kind on this object. */
export function actorOf(kind: number, object: number): string {
  if (kind === K.OPERATE) return "memory thread";
  if (kind <= K.CANCEL) return "program";
  if (kind <= K.HEAR_LOSS) return "engine";
  if (kind <= K.SHORTEN) return "device";
  if (kind === K.RECLAIM) return "kswapd";
  if (kind === K.COMPACT) return "compaction";
  if (kind < K.CALL) return "kernel";
  return kind === K.CALL || kind === K.GO_ON || kind === K.SLEEP ? nameOfThread(object) : "monitor";
}

function describe(world: ExploredWorld, kind: number, object: number): string {
  return (
    ofProgram(world, kind, object) ??
    ofEngine(world, kind, object) ??
    ofMachine(kind, object) ??
    ofOtherThreads(world, kind, object) ??
    ofMonitor(world, kind)
  );
}

function ofProgram({ ground }: ExploredWorld, kind: number, object: number): string | null {
  switch (kind) {
    case K.SUBMIT: {
      const { write, ...pages } = ground.scenario.requests[object]!;
      const what = write ? `write ${pagesInWords(pages)} to its file` : `read its file into ${pagesInWords(pages)}`;
      return `the program submits ${nameOfRequest(object)}: ${what}`;
    }
    case K.START: {
      const { event, blockable, ...pages } = ground.scenario.invalidations[object]!;
      const what = `${event} of ${pagesInWords(pages)}${blockable ? "" : ", which may not wait"}`;
      return `the program starts ${nameOfInvalidation(object)}: ${what}`;
    }
    case K.OPERATE:
      return `the memory thread makes the call of ${nameOfInvalidation(object)}`;
    case K.FINISH:
      return `the program ends ${nameOfInvalidation(object)}, after its operation`;
    case K.CANCEL:
      return `the program cancels ${nameOfRequest(object)}`;
    default:
      return null;
  }
}

function ofEngine({ monitor }: ExploredWorld, kind: number, object: number): string | null {
  switch (kind) {
    case K.MICROTASKS:
      return "the engine has its turn (a microtask)";
    case K.SOON:
      return "the engine has its turn (soon)";
    case K.WAKE:
      return "the engine is woken, and has its turn";
    case K.MESSAGE:
      return `the engine hears from the monitor: ${monitor.nextMessage}`;
    case K.TICK:
      return "time passes, and the engine's clock looks";
    case K.LOOK_AT_CLOCK:
      return "the engine's clock looks";
    case K.STALL:
      return "time passes, and the engine's thread is busy";
    case K.HEAR_LOSS:
      return object !== K.CONCLUSION
        ? "the engine hears that the monitor has ended"
        : "time passes, and all threads that the monitor had let go have left: the engine concludes its announcements";
    default:
      return null;
  }
}

/** Renders an action of the device or the kernel; null for any other. */
function ofMachine(kind: number, object: number): string | null {
  switch (kind) {
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
    default:
      return null;
  }
}

/** Renders an action of other code's threads or the monitor; null for any other. */
function ofOtherThreads({ ground, threads }: ExploredWorld, kind: number, object: number): string | null {
  const name = nameOfThread(object);
  switch (kind) {
    case K.CALL: {
      const { own, call, unseen, ...pages } = ground.scenario.foreign[object]!;
      const made = call === "unmap" ? "munmap" : "madvise(DONTNEED)";
      const gone = call === "unmap" ? ": they're gone" : "";
      const then = unseen ? "its event is there" : "waits";
      const caller = own ? "the program's own thread" : name;
      return `${caller} calls ${made} on ${pagesInWords(pages)}${gone}, and ${then} (${name})`;
    }
    case K.GO_ON:
      return threads.hasMore(object)
        ? `${name} goes on, to the next mapping of its memory`
        : `${name} goes on: its pages go, and it leaves its call`;
    case K.SLEEP:
      return `${name} sleeps, so that the monitor can see it`;
    default:
      return null;
  }
}

function ofMonitor({ monitor, threads }: ExploredWorld, kind: number): string {
  switch (kind) {
    case K.SEE:
      return `the monitor sees who waits: ${namesOfThreads(threads.visible) || "our memory thread"}`;
    case K.SEE_NO_THREAD:
      return "the monitor finds an event, but no thread that waits for it: it announces all that it follows";
    case K.MONITOR:
      return `the monitor ${monitor.nextStep}`;
    case K.GIVE_UP:
      return "the monitor gives up waiting for the engine";
    case K.LOOK:
      return "the monitor sees that threads whose events it has read have left their calls";
    case K.MUST_HAVE_LEFT:
      return "time passes: threads that weren't seen, and whose events were read, must have left their calls";
    case K.LOSE:
      return "the monitor's thread ends, which lets all threads go that wait for it";
    case K.FOLLOW_AGAIN:
      return "another monitor is started, and follows all that the one that has ended did";
    default:
      return "the monitor sees that a lease is due, and that the engine doesn't look";
  }
}
