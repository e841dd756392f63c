/** The words of the scene "compact", for readers who have never heard of pins. */

import type { ComponentChildren } from "preact";
import type { SceneStep } from "../../src/tour/compact-scene.js";
import { refusedIn } from "../../src/tour/tour-actions.js";
import type { CompactionRound } from "../../src/tour/tour-machine.js";
import { count, pagesOf } from "../figure-text.js";

export interface Rounds {
  readonly pins: readonly CompactionRound[];
  readonly leases: readonly CompactionRound[];
}

export interface Words {
  readonly title: string;
  /** The word on the button that takes this step. */
  readonly button: string;
  readonly text: (rounds: Rounds) => ComponentChildren;
}

export const MACHINE_TITLES = { pins: "Linux as it is: pins", leases: "The same Linux, with leases" } as const;

export const COMPACT_WORDS: Record<SceneStep, Words> = {
  look: {
    title: "Two machines, one program",
    button: "Start again",
    text: () => (
      <>
        <p>
          A computer's memory is made of pages of 4 KiB. Each dot below is one. Both machines are the same, and run the
          same program: it reads a file from a fast disk straight into memory of its own, its buffers.
        </p>
        <p>
          The disk must know where to write, and while it writes nobody may move the page from under it. The program of
          the first machine told Linux once, at its start, which pages the disk may write to. From then on they are{" "}
          <strong>pinned</strong> (red): they have to stay where they are until the program ends, even while nothing is
          read. The second program uses pinless, which takes a <strong>lease</strong> when it reads, and gives it back
          when somebody needs the page to move.
        </p>
        <p>
          Nearly half of the memory is free, but in crumbs. Not one whole area of 2 MiB is free. Fast programs want such
          areas: one of them makes a huge page.
        </p>
      </>
    ),
  },
  read: {
    title: "The program reads",
    button: "Let it read",
    text: () => (
      <p>
        For 0.3 seconds both programs read. Yellow is where the disk writes at this moment: sixteen reads at a time, a
        thin sprinkle. Blue are pages under a lease: they were used lately and will be used again soon, so they're kept
        ready. Red and blue differ in nothing so far. They do when somebody needs the pages.
      </p>
    ),
  },
  compact: {
    title: "The kernel tidies up",
    button: "Compact memory",
    text: ({ pins, leases }) => (
      <>
        <p>
          Both kernels compact memory: they move pages from the top of the map to free places at the bottom, so that
          free memory comes together. Green pages were moved.
        </p>
        <p>
          With pins, <Refused round={pins[0]} /> refused: a pinned page doesn't move. With leases,{" "}
          <Refused round={leases[0]} /> refused too, as the kernel tells no program in advance. But the engine sees that
          the kernel compacts, and gives all its leases back.
        </p>
      </>
    ),
  },
  "compact again": {
    title: "A second later",
    button: "Compact again",
    text: ({ pins, leases }) => (
      <p>
        The kernel comes round again twice, half a second apart, as Linux does. With pins, still{" "}
        <Refused round={pins.at(-1)} /> refused. With leases, <Refused round={leases[1]} /> refused in the first of
        these rounds, because the disk was writing to them at that very moment, which takes some milliseconds; in the
        second, <Refused round={leases[2]} />. All others moved, while the program went on reading.
      </p>
    ),
  },
  result: {
    title: "What you saw",
    button: "See the finding",
    text: ({ pins, leases }) => (
      <div class="finding">
        <p>
          <strong>
            A pinned page can't move, because a disk has been promised its place. A pin is a promise without end:{" "}
            {pagesOf(held(pins.at(-1)))} were still in the way, and {areas(pins.at(-1))} of 2 MiB is free. A lease lasts
            as long as it's of use: {areas(leases.at(-1))} of 2 MiB are free.
          </strong>
        </p>
        <p>
          Nothing was slower for it: the reads went on. Try it yourself in the view Machine, where all buttons are free.
        </p>
      </div>
    ),
  },
};

function Refused({ round }: { readonly round: CompactionRound | undefined }) {
  return <strong>{pagesOf(held(round))}</strong>;
}

function held(round: CompactionRound | undefined): number {
  return round === undefined ? 0 : refusedIn(round);
}

function areas(round: CompactionRound | undefined): string {
  const free = round?.freeHugePages ?? 0;
  return free === 0 ? "no area" : free === 1 ? "1 area" : `${count(free)} areas`;
}
