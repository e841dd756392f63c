/** The view "Traces": steps through a trace of `pinless-lab check`, of `simulate` or of an engine. */

import { numberIn, type ViewProps } from "../link.js";
import { FileDrop } from "./file-drop.js";
import { StepDetails } from "./step-details.js";
import { StepList } from "./step-list.js";
import { type ShippedTrace, type ShownFile, useTrace } from "./use-trace.js";

export function TracesView({ link, go }: ViewProps) {
  const wanted = link.params.trace ?? "";
  const step = numberIn(link, "step", 1, 1, 1e9) - 1;
  const trace = useTrace(wanted, step, () => go({ params: { trace: null, step: "1" } }));
  const { file, shipped, reading, error } = trace;
  const show = (to: number): void => go({ params: { step: String(to + 1) } });
  return (
    <>
      <h1>Step through a trace</h1>
      <FileDrop
        label="A trace: ITF of “pinless-lab check”, or Chrome trace events of “simulate trace”, an engine or “bench”"
        open={trace.open}
      />
      <Shipped shipped={shipped} chosen={wanted} choose={(name) => go({ params: { trace: name, step: "1" } })} />
      <p class="quiet" role="status">
        {reading === null ? "" : `Reading ${reading} …`}
      </p>
      {error !== null && (
        <p class="message" role="alert">
          {error}
        </p>
      )}
      {file !== null && <Steps file={file} trace={trace} step={Math.min(step, file.summary.count - 1)} show={show} />}
    </>
  );
}

function Shipped({
  shipped,
  chosen,
  choose,
}: {
  readonly shipped: readonly ShippedTrace[];
  readonly chosen: string;
  readonly choose: (name: string) => void;
}) {
  if (shipped.length === 0) return null;
  return (
    <p>
      <label>
        Or the failure of an engine in which this is left out:{" "}
        <select
          value={chosen}
          onChange={({ currentTarget }) => currentTarget.value !== "" && choose(currentTarget.value)}
        >
          <option value="">choose one</option>
          {shipped.map(({ name, leavesOut }) => (
            <option key={name} value={name}>
              {leavesOut}
            </option>
          ))}
        </select>
      </label>
    </p>
  );
}

interface StepsProps {
  readonly file: ShownFile;
  readonly trace: ReturnType<typeof useTrace>;
  readonly step: number;
  readonly show: (step: number) => void;
}

function Steps({ file: { name, summary }, trace: { first, steps }, step, show }: StepsProps) {
  const { count, lanes, violation, remarks, title } = summary;
  return (
    <>
      <h2>{name}</h2>
      <p>{title}</p>
      {remarks.map((remark) => (
        <p key={remark} class="quiet">
          {remark}
        </p>
      ))}
      <nav class="row" aria-label="Steps of the trace">
        <button type="button" disabled={step === 0} onClick={() => show(step - 1)}>
          Back
        </button>
        <button type="button" class="main" disabled={step === count - 1} onClick={() => show(step + 1)}>
          Next
        </button>
        <label>
          Step
          <input
            type="range"
            min={1}
            max={count}
            value={step + 1}
            onInput={({ currentTarget }) => show(Number(currentTarget.value) - 1)}
          />
        </label>
        <span data-figure="step">
          {(step + 1).toLocaleString("en-US")} of {count.toLocaleString("en-US")}
        </span>
        {violation !== null && (
          <button type="button" onClick={() => show(violation.step)}>
            To the step that breaks {violation.invariant}
          </button>
        )}
      </nav>
      <div class="trace">
        <StepList lanes={lanes} first={first} steps={steps} current={step} broken={violation?.step ?? -1} show={show} />
        <StepDetails index={step} step={steps[step - first]} violation={violation} show={show} />
      </div>
    </>
  );
}
