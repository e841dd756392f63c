/** Steps of the proposal: what an invalidation and I/O do of it, and where the kernel's I/O calls that. */

import { type Mutant, row } from "./mutant.js";

const PROPOSED = "lab/src/proposal/mmu-notifier.ts";
const IO = "lab/src/proposal/gup-io.ts";

export const PROPOSAL_MUTANTS: readonly Mutant[] = [
  {
    name: "notifier-no-wait",
    leavesOut: "an invalidation waits for the I/O in flight that it concerns",
    file: PROPOSED,
    within: "ProposedNotifier.look",
    node: "this.#count(invalidation, IN_FLIGHT) > 0",
    to: "false",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-looks-before-it-raises",
    leavesOut: "an invalidation looks for I/O in flight only after new I/O was kept out",
    file: PROPOSED,
    within: "ProposedNotifier.raise",
    to: `{
      const busy = this.#count(invalidation, IN_FLIGHT) > 0;
      this.#words[this.#invalidation(invalidation) + STATE] = busy ? DRAINING : RAISED;
    }`,
    also: {
      within: "ProposedNotifier.look",
      node: `if (this.#count(invalidation, IN_FLIGHT) > 0) {
        this.#words[this.#invalidation(invalidation) + STATE] = DRAINING;
        return;
      }`,
      to: `const range = this.rangeOf(invalidation);
      for (const side of this.#sides(this.event(invalidation))) {
        this.#add(range, EXCLUDED + side, 1);
        this.#add(range, SEQUENCE + side, 1);
      }`,
    },
    shows: "notifier-pairs",
  },
  {
    name: "notifier-no-exclusion",
    leavesOut: "no I/O begins while an invalidation is in progress",
    file: PROPOSED,
    within: "ProposedNotifier.readBegin",
    node: "this.isExcluded(request)",
    to: "false",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-no-sequence",
    leavesOut: "an invalidation raises the sequence",
    file: PROPOSED,
    within: "ProposedNotifier.raise",
    node: "this.#add(range, SEQUENCE + side, 1);",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-no-retry",
    leavesOut: "I/O whose pages may have changed meanwhile looks them up again",
    file: PROPOSED,
    within: "ProposedNotifier.readRetry",
    node: "sequence !== this.#words[this.#io(request) + SEEN]",
    to: "false",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-asks-before-it-counts",
    leavesOut: "I/O is counted before it checks for invalidations since its look-up",
    file: IO,
    within: "Io.goOn",
    node: "case G.FOUND: notifier.countIn(request); this.#set(request, G.COUNTED); break;",
    to: `case G.FOUND:
      if (notifier.readRetry(request)) { notifier.countIn(request); this.#retry(request); } else this.#set(request, G.COUNTED);
      break;`,
    also: {
      within: "Io.goOn",
      node: "case G.COUNTED: this.#retry(request); break;",
      to: `case G.COUNTED:
        notifier.countIn(request); notifier.letGo(request); this.#set(request, G.IN_FLIGHT); this.#rules.began(request);
        break;`,
    },
    shows: "notifier-pairs",
  },
  {
    name: "notifier-counts-before-it-looks-up",
    leavesOut: "I/O is counted only after the look-up, which may have to wait for I/O that is counted",
    file: IO,
    within: "Io.goOn",
    node: "case G.LOOKING: this.#lookUp(request); break;",
    to: `case G.LOOKING:
      if (ground.request(request, G.Q_PAGE) === 0 && ground.invalidation(ground.ownOf(request), G.V_FRAMES) === 0) {
        notifier.countIn(request);
        ground.setInvalidation(ground.ownOf(request), G.V_FRAMES, 1);
      }
      this.#lookUp(request);
      if (ground.request(request, G.Q_STATE) === G.FOUND) {
        ground.setInvalidation(ground.ownOf(request), G.V_FRAMES, 0);
        notifier.countOut(request);
      }
      break;`,
    shows: "notifier-fork",
  },
  {
    name: "notifier-no-mark",
    leavesOut: "an invalidation marks registered buffers",
    file: PROPOSED,
    within: "ProposedNotifier.#begin",
    node: "this.#setPage(page, GRADE, MARKED);",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-always-looks-up",
    leavesOut: "a registered buffer that isn't marked needs no look-up (FREE_WHEN_QUIET)",
    file: PROPOSED,
    within: "ProposedNotifier.registered",
    node: "fits ? this.#page(page, FRAME) - 1 : -1",
    to: "-1",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-read-only-look-up-is-written-by",
    leavesOut: "pages that were looked up for device reads are looked up again before a device write",
    file: PROPOSED,
    within: "ProposedNotifier.registered",
    node: "FOR_WRITES",
    to: "FOR_READS",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-publishes-early",
    leavesOut: "a registered buffer keeps a look-up only if it's still valid once its user is counted",
    file: IO,
    within: "Io.#found",
    node: "ground.setRequest(request, G.Q_FRAMES + i, frame + 1);",
    to: `ground.setRequest(request, G.Q_FRAMES + i, frame + 1);
      if (ground.notifies && ground.registered)
        ground.notifier.publish(ground.scenario.requests[request].first + i, frame, ground.scenario.requests[request].write ? WRITE : READ);`,
    shows: "notifier-pairs",
  },
  {
    name: "notifier-no-stable-pages",
    leavesOut: "a device write waits until a page isn't under writeback any more",
    file: IO,
    within: "Io.#waitsForWriteback",
    node: "machine.frames.frameIs(frame, WRITEBACK)",
    to: "false",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-leaves-pages-clean",
    leavesOut: "a page that a device wrote is marked dirty before it can be reclaimed",
    file: IO,
    within: "Io.#complete",
    node: "this.#markDirty(request);",
    shows: "notifier-clean",
  },
  {
    name: "notifier-end-wakes-nobody",
    leavesOut: "the end of an invalidation wakes the I/O that it kept out",
    file: PROPOSED,
    within: "ProposedNotifier.#lower",
    node: "this.#wakeIo(range);",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-completion-wakes-nobody",
    leavesOut: "I/O that ends wakes the invalidations that wait for it",
    file: PROPOSED,
    within: "ProposedNotifier.countOut",
    node: "this.#wakeInvalidations(this.#uses[request]!);",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-completion-takes-a-lock",
    leavesOut: "the end of I/O takes no lock that an invalidation may hold while it waits for that end",
    file: IO,
    within: "Io.mayGoOn",
    node: "case G.COUNTED:",
    to: "case G.COUNTED: return true;",
    also: {
      within: "Io.mayGoOn",
      node: "case G.SERVED: return true;",
      to: "case G.SERVED: return !ground.notifier.isExcluded(request);",
    },
    shows: "notifier-pairs",
  },
  {
    name: "notifier-sent-back-stays-counted",
    leavesOut: "an invalidation doesn't wait for I/O that it sent back",
    file: PROPOSED,
    within: "ProposedNotifier.goBack",
    node: "this.countOut(request);",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-starves-io",
    leavesOut: "I/O that an invalidation held begins before the next invalidation does",
    file: PROPOSED,
    within: "ProposedNotifier.mayRaise",
    node: "this.#count(invalidation, HELD) === 0",
    to: "true",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-starves-what-is-sent-back",
    leavesOut: "I/O that an invalidation sent back begins before the next invalidation does",
    file: PROPOSED,
    within: "ProposedNotifier.goBack",
    node: "this.#hold(request);",
    shows: "notifier-pairs",
  },
  {
    name: "notifier-own-waits-for-the-held",
    leavesOut: "the changes of a look-up to its page don't wait for held I/O, which may be the same I/O",
    file: IO,
    within: "Io.mayGoOn",
    node: "return ground.notifier.state(ground.ownOf(request)) !== DRAINING;",
    to: `return ground.notifier.state(ground.ownOf(request)) !== DRAINING
      && (ground.notifier.state(ground.ownOf(request)) !== 0 || ground.notifier.mayRaise(ground.ownOf(request)));`,
    shows: "notifier-fork",
  },
  {
    name: "notifier-interrupted-is-still-held",
    leavesOut: "an invalidation doesn't wait for I/O whose wait was ended by a signal",
    file: IO,
    within: "Io.#fail",
    node: "if (ground.notifies) ground.notifier.letGo(request);",
    shows: "notifier-veto",
  },
  {
    name: "notifier-veto-over-io",
    leavesOut: "an invalidation that may not wait is refused if I/O began before the sequence was raised",
    file: PROPOSED,
    within: "ProposedNotifier.lookOnce",
    node: "this.#count(invalidation, IN_FLIGHT) === 0",
    to: "true",
    shows: "notifier-veto",
  },
  {
    name: "notifier-veto-without-undo",
    leavesOut: "a refused invalidation leaves every counter unchanged",
    file: PROPOSED,
    within: "ProposedNotifier.lookOnce",
    node: "this.#lower(invalidation);",
    shows: "notifier-veto",
  },
  row("CLEAR", "deviceReads", "false", "CLEAR waits for device reads", "notifier-pairs"),
  row("MIGRATE", "deviceWrites", "false", "MIGRATE waits for device writes", "notifier-pairs"),
  row("PROTECTION_VMA", "deviceWrites", "false", "PROTECTION_VMA waits for device writes", "notifier-pairs"),
  row("PROTECTION_PAGE", "deviceWrites", "false", "PROTECTION_PAGE waits for device writes", "notifier-pairs"),
  row("PROTECTION_PAGE", "deviceReads", "true", "PROTECTION_PAGE lets device reads go on (FILTER)", "notifier-pairs"),
  row("PROTECTION_PAGE", "lease", '"keep"', "PROTECTION_PAGE marks registered buffers", "notifier-pairs"),
  row("SOFT_DIRTY", "lease", '"keep"', "SOFT_DIRTY marks registered buffers", "notifier-pairs"),
  row("EXCLUSIVE", "lease", '"drop"', "EXCLUSIVE marks none (FREE_WHEN_QUIET)", "notifier-pairs"),
];
