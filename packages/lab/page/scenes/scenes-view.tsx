/** The view "Scenes": a guided scene in a few steps. */

import { useEffect, useRef } from "preact/hooks";
import { COMPACT_STEPS, SCENE_DESIGNS } from "../../src/tour/compact-scene.js";
import type { TourDesign } from "../../src/tour/tour-designs.js";
import type { CompactionRound } from "../../src/tour/tour-machine.js";
import { count } from "../figure-text.js";
import { FrameMap, Legend } from "../frame-map.js";
import { numberIn, type ViewProps } from "../link.js";
import { SeedField } from "../seed-field.js";
import { COMPACT_WORDS, MACHINE_TITLES } from "./compact-words.js";
import { type SceneMachine, useScene } from "./use-scene.js";

const SCENE = "compact";

export function ScenesView({ link, go }: ViewProps) {
  const last = COMPACT_STEPS.length - 1;
  const step = numberIn(link, "step", 1, 1, last + 1) - 1;
  const seed = numberIn(link, "seed", 1, 0, 1e15);
  const scene = useScene(seed, step);
  const title = useRef<HTMLHeadingElement>(null);
  const shown = useRef(step);
  useEffect(() => {
    if (shown.current !== step) title.current?.focus();
    shown.current = step;
  }, [step]);
  const words = COMPACT_WORDS[COMPACT_STEPS[step]!];
  const show = (to: number): void => go({ params: { scene: SCENE, step: String(to + 1) } });
  return (
    <>
      <p class="quiet">
        Scene “compact” · step {step + 1} of {last + 1}
      </p>
      <h1 ref={title} tabIndex={-1}>
        {words.title}
      </h1>
      <div class="words" data-step={step + 1} aria-busy={!scene.isThere}>
        {scene.isThere ? words.text(scene.rounds) : <p class="quiet">The machines are working …</p>}
      </div>
      {scene.error !== null && (
        <p class="message" role="alert">
          {scene.error}
        </p>
      )}
      <nav class="row" aria-label="Steps of the scene">
        <button type="button" disabled={step === 0} onClick={() => show(step - 1)}>
          Back
        </button>
        {step < last ? (
          <button type="button" class="main" onClick={() => show(step + 1)}>
            {COMPACT_WORDS[COMPACT_STEPS[step + 1]!].button}
          </button>
        ) : (
          <button type="button" class="main" onClick={() => go({ view: "machine" })}>
            Go to the machine
          </button>
        )}
        {step > 0 && (
          <button type="button" onClick={() => show(0)}>
            Start again
          </button>
        )}
        <SeedField seed={seed} change={(to) => go({ params: { seed: String(to), step: "1" } })} />
      </nav>
      <div class="side-by-side">
        {SCENE_DESIGNS.map((design) => (
          <Machine key={design} design={design} machine={scene.machines[design]} />
        ))}
      </div>
      <Legend states={["free", "mapped", "pinned", "leased", "in flight", "moved"]} />
    </>
  );
}

function Machine({
  design,
  machine,
}: {
  readonly design: (typeof SCENE_DESIGNS)[number];
  readonly machine: SceneMachine | undefined;
}) {
  const title = MACHINE_TITLES[design];
  return (
    <section class="panel" aria-label={title} data-design={design}>
      <h2>{title}</h2>
      {machine === undefined ? (
        <div class="frames" />
      ) : (
        <>
          <FrameMap states={machine.look.states} label={inWords(design, machine)} />
          <table>
            <tbody>
              <Row
                name="areas of 2 MiB that are free"
                value={machine.look.figures.freeHugePages}
                id="free-huge-pages"
              />
              <Row
                name={design === "pins" ? "pages pinned" : "pages leased, or read into now"}
                value={heldBy(design, machine)}
                id="held"
              />
              <Rounds rounds={machine.rounds} />
            </tbody>
          </table>
        </>
      )}
    </section>
  );
}

function Rounds({ rounds }: { readonly rounds: readonly CompactionRound[] }) {
  const round = rounds.at(-1);
  if (round === undefined) return null;
  return (
    <>
      <Row name="pages moved so far" value={rounds.reduce((sum, { moved }) => sum + moved, 0)} id="moved" />
      <Row name="refused at last: pinned" value={round.refused.pinned} id="pinned" />
      <Row name="refused at last: leased" value={round.refused.leased} id="leased" />
      <Row name="refused at last: the disk was writing to them" value={round.refused.inFlight} id="in-flight" />
    </>
  );
}

function Row({ name, value, id }: { readonly name: string; readonly value: number; readonly id: string }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td class="number" data-figure={id}>
        {count(value)}
      </td>
    </tr>
  );
}

/** Pages that pins hold: those of a registration or of leases, and those that are read into now. */
function heldBy(design: TourDesign, { look }: SceneMachine): number {
  const { pinned, leased } = look.figures.frames;
  return (design === "pins" ? pinned : leased) + look.figures.frames["in flight"];
}

function inWords(design: TourDesign, machine: SceneMachine): string {
  const { frames, freeHugePages } = machine.look.figures;
  return (
    `Map of memory: ${count(frames.free)} pages free, ${count(frames.mapped + frames.moved)} in use, ` +
    `${count(heldBy(design, machine))} held for the disk; ${freeHugePages} areas of 2 MiB free`
  );
}
