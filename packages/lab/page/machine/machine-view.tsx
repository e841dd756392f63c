/** The view "Machine": memory as a map, and what can be done to it. */

import { useState } from "preact/hooks";
import { FRAME_STATES } from "../../src/tour/frame-states.js";
import { TOUR_DESIGNS, type TourDesign } from "../../src/tour/tour-designs.js";
import type { TourFigures } from "../../src/tour/tour-machine.js";
import { count, milliseconds } from "../figure-text.js";
import { FrameMap, Legend } from "../frame-map.js";
import { numberIn, type ViewProps, wordIn } from "../link.js";
import { Actions, type Choice, Controls, SPEEDS } from "./controls.js";
import { type Deed, historyOf, historyWord, withDeed } from "./history.js";
import { type Line, useMachine, usePlay } from "./use-machine.js";

/** History of a machine of which the link says nothing: it reads. */
const FIRST = "read";

export function MachineView({ link, go }: ViewProps) {
  const design = wordIn(link, "design", TOUR_DESIGNS);
  const seed = numberIn(link, "seed", 1, 0, 1e15);
  const speed = wordIn(link, "speed", SPEEDS);
  const machine = useMachine(design, seed, historyOf(link.params.did ?? FIRST));
  const { look, lines, error } = machine;
  const [plays, setPlays] = useState(false);
  usePlay(plays, Number(speed), machine.pass);
  /** Does something by a button, which the link says from then on. */
  const press = (deed: Deed): void => {
    go({ params: { did: historyWord(withDeed(machine.history(), deed)) } });
    void machine.do(deed);
  };
  const choose = (choice: Choice): void => {
    setPlays(false);
    go({ params: { ...choice, did: null } });
  };
  const play = (wanted: boolean): void => {
    setPlays(wanted);
    if (!wanted) go({ params: { did: historyWord(machine.history()) } });
  };
  const setSpeed = (to: string): void => go({ params: { speed: to } });
  return (
    <>
      <h1>A machine</h1>
      <Controls {...{ design, seed, speed, plays, reads: machine.reads, choose, setSpeed, setPlays: play, press }} />
      <Actions press={press} />
      {error !== null && (
        <p class="message" role="alert">
          {error}
        </p>
      )}
      <div class="machine" aria-busy={look === null}>
        <section class="panel" aria-label="Memory">
          {look === null ? <div class="frames" /> : <FrameMap states={look.states} label={inWords(look.figures)} />}
          <Legend states={FRAME_STATES.filter((state) => shows(design, state))} />
        </section>
        <div>
          {look !== null && <Figures figures={look.figures} />}
          <Log lines={lines} />
        </div>
      </div>
    </>
  );
}

/** Leaves out colours that a design never has. */
function shows(design: TourDesign, state: (typeof FRAME_STATES)[number]): boolean {
  if (state === "pinned") return design === "pins";
  if (state === "leased") return design === "leases";
  return state !== "writeback";
}

function inWords({ frames, freeHugePages }: TourFigures): string {
  const states = FRAME_STATES.filter((state) => frames[state] > 0).map((state) => `${count(frames[state])} ${state}`);
  return `Map of 65,536 pages: ${states.join(", ")}; ${freeHugePages} areas of 2 MiB free`;
}

function Figures({ figures }: { readonly figures: TourFigures }) {
  const { frames, reads, leases } = figures;
  const rows: readonly (readonly [name: string, id: string, value: string])[] = [
    ["time", "now", milliseconds(figures.nowMs)],
    ["areas of 2 MiB that are free", "free-huge-pages", count(figures.freeHugePages)],
    ["pages that can't move now", "held", count(frames.pinned + frames.leased + frames["in flight"])],
    ["reads done", "done", count(reads.done)],
    ["reads that never arrived", "lost", count(reads.lost)],
    ["reads that waited for an operation", "waited", count(reads.held)],
    ["leases: live, taken, dropped", "leases", [leases.live, leases.taken, leases.dropped].map(count).join(", ")],
  ];
  return (
    <section class="panel" aria-label="Figures">
      <h2>Disk</h2>
      <p class="queue" role="img" aria-label={`${reads.inFlight} reads in flight`}>
        {Array.from({ length: 16 }, (_, i) => (
          <span key={i} class={i < reads.inFlight ? "busy" : ""} />
        ))}
      </p>
      <table>
        <tbody>
          {rows.map(([name, id, value]) => (
            <tr key={id}>
              <th scope="row">{name}</th>
              <td class="number" data-figure={id}>
                {value}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Log({ lines }: { readonly lines: readonly Line[] }) {
  return (
    <section class="panel log" aria-label="Events">
      <h2>What happened</h2>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and the keyboard alone has to do that */}
      <div role="log" aria-live="polite" tabIndex={0} aria-label="What happened">
        {lines.length === 0 && <p class="quiet">Nothing was asked for yet.</p>}
        {lines.map(({ id, atMs, sentence }) => (
          <p key={id}>
            <span class="quiet">{milliseconds(atMs)}</span> {sentence}
          </p>
        ))}
      </div>
    </section>
  );
}
