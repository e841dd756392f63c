/** Steps around the current one, each with a mark in its actor's lane. */

import type { TraceStep } from "../../src/traces/shown-trace.js";

interface StepListProps {
  readonly lanes: readonly string[];
  /** Index of the first of `steps`. */
  readonly first: number;
  readonly steps: readonly TraceStep[];
  readonly current: number;
  /** Index of the step that breaks an invariant; -1 if none does. */
  readonly broken: number;
  readonly show: (step: number) => void;
}

export function StepList({ lanes, first, steps, current, broken, show }: StepListProps) {
  return (
    <div class="panel steps">
      <div class="lanes heads" aria-hidden="true">
        {lanes.map((lane) => (
          <span key={lane}>{lane}</span>
        ))}
      </div>
      <ol start={first + 1} aria-label="Steps">
        {steps.map((step, i) => {
          const index = first + i;
          return (
            <li key={index} class={index === broken ? "broken" : ""}>
              <button
                type="button"
                tabIndex={index === current ? 0 : -1}
                aria-current={index === current ? "step" : undefined}
                onClick={() => show(index)}
              >
                <span class="lanes" aria-hidden="true">
                  {lanes.map((lane) => (
                    <span key={lane} class={lane === step.lane ? "mark" : ""} />
                  ))}
                </span>
                <span class="number">{index + 1}</span>
                <span>
                  <span class="quiet">{step.lane}:</span> {step.what}
                  {index === broken && <strong class="bad"> breaks an invariant</strong>}
                </span>
              </button>
            </li>
          );
        })}
      </ol>
    </div>
  );
}
