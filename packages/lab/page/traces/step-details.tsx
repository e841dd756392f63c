/** One step in full: its effects, what changed, what led to it, and the invariant that it breaks. */

import type { TraceStep, Violation } from "../../src/traces/shown-trace.js";

/** Sentences about the invariants, by name: those of ARCHITECTURE.md, which the build puts in (build.mjs). */
declare const INVARIANT_TEXTS: Readonly<Record<string, string>>;

interface StepDetailsProps {
  readonly index: number;
  /** Undefined while it's read. */
  readonly step: TraceStep | undefined;
  readonly violation: Violation | null;
  readonly show: (step: number) => void;
}

export function StepDetails({ index, step, violation, show }: StepDetailsProps) {
  if (step === undefined) return <section class="panel" aria-busy="true" aria-label="The step" />;
  return (
    <section class="panel" aria-label="The step" aria-live="polite">
      <h2>
        Step {(index + 1).toLocaleString("en-US")}: {step.what}
      </h2>
      <p class="quiet">
        by {step.lane}
        {step.atMs === null ? "" : `, at ${step.atMs.toLocaleString("en-US", { maximumFractionDigits: 3 })} ms`}
      </p>
      {violation?.step === index && <Broken violation={violation} />}
      <Lines title="Effects" lines={step.notes} />
      <Lines title="Changed" lines={step.changed} />
      {step.causes.length > 0 && (
        <>
          <h3>Led to by</h3>
          <ul>
            {step.causes.map((cause) => (
              <li key={cause.step}>
                <button type="button" onClick={() => show(cause.step)}>
                  step {(cause.step + 1).toLocaleString("en-US")}, which {cause.name}
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

function Broken({ violation: { invariant, message } }: { readonly violation: Violation }) {
  const text = INVARIANT_TEXTS[invariant];
  return (
    <div class="message" data-violated={invariant}>
      <p>
        <strong class="bad">This breaks {invariant}</strong>
        {text === undefined ? "." : `: ${text}`}
      </p>
      <p>{message}</p>
    </div>
  );
}

function Lines({ title, lines }: { readonly title: string; readonly lines: readonly string[] }) {
  if (lines.length === 0) return null;
  return (
    <>
      <h3>{title}</h3>
      <ul>
        {lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
    </>
  );
}
