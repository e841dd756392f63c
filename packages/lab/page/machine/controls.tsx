/** The controls of a machine: what it is, its time, and what can be asked of it. */

import { TOUR_ACTIONS, type TourAction } from "../../src/tour/tour-actions.js";
import { TOUR_DESIGNS, type TourDesign } from "../../src/tour/tour-designs.js";
import { SeedField } from "../seed-field.js";
import type { Deed } from "./history.js";

const DESIGN_TITLES: Record<TourDesign, string> = {
  pins: "Linux with pins",
  proposal: "the proposal in the kernel",
  leases: "Linux with leases",
};

const ACTIONS: Record<TourAction, { readonly button: string; readonly title: string }> = {
  compact: { button: "Compact", title: "The kernel moves pages, so that free memory comes together" },
  "page out": { button: "Page out", title: "The program asks for its buffers to be written to swap" },
  collapse: { button: "Collapse", title: "The program asks for huge pages: each needs a free area of 2 MiB" },
  fork: { button: "Fork", title: "The program starts a child, which shares its memory" },
  discard: { button: "Discard", title: "Other code of the program gives a quarter of the buffers back" },
};

/** Virtual milliseconds in a second. */
export const SPEEDS = ["10", "50", "200"] as const;

/** Parameters of a link that make another machine. */
export type Choice = { readonly design: string } | { readonly seed: string };

export interface ControlsProps {
  readonly design: TourDesign;
  readonly seed: number;
  readonly speed: string;
  readonly plays: boolean;
  readonly reads: boolean;
  readonly choose: (choice: Choice) => void;
  readonly setSpeed: (speed: string) => void;
  readonly setPlays: (plays: boolean) => void;
  readonly press: (deed: Deed) => void;
}

export function Controls(props: ControlsProps) {
  const { design, seed, plays, reads, choose, setPlays, press } = props;
  return (
    <div class="row">
      <label>
        Design
        <select value={design} onChange={(event) => choose({ design: event.currentTarget.value })}>
          {TOUR_DESIGNS.map((each) => (
            <option key={each} value={each}>
              {DESIGN_TITLES[each]}
            </option>
          ))}
        </select>
      </label>
      <SeedField seed={seed} change={(to) => choose({ seed: String(to) })} />
      <button type="button" class="main" onClick={() => setPlays(!plays)}>
        {plays ? "Pause" : "Play"}
      </button>
      <button type="button" disabled={plays} onClick={() => press({ ms: 1 })}>
        Step 1 ms
      </button>
      <Speed {...props} />
      <label>
        <input type="checkbox" checked={reads} onChange={(event) => press({ reads: event.currentTarget.checked })} />
        the program reads
      </label>
    </div>
  );
}

function Speed({ speed, setSpeed }: ControlsProps) {
  return (
    <label>
      Speed
      <select value={speed} onChange={(event) => setSpeed(event.currentTarget.value)}>
        {SPEEDS.map((each) => (
          <option key={each} value={each}>
            {each} ms a second
          </option>
        ))}
      </select>
    </label>
  );
}

export function Actions({ press }: Pick<ControlsProps, "press">) {
  return (
    <fieldset class="row actions">
      <legend>Ask for</legend>
      {TOUR_ACTIONS.map((action) => (
        <button key={action} type="button" title={ACTIONS[action].title} onClick={() => press({ action })}>
          {ACTIONS[action].button}
        </button>
      ))}
    </fieldset>
  );
}
