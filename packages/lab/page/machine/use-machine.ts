/** A machine that runs while it's played, and what happened to it. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { TourDesign } from "../../src/tour/tour-designs.js";
import type { Look } from "../machine-calls.js";
import { callMachine } from "../machines.js";
import { type Deed, withDeed } from "./history.js";

const MACHINE = "machine";
const FRAMES = 65_536;
const MOST_LINES = 100;
/** A page that was hidden doesn't catch up. */
const MOST_STEP_MS = 50;

export interface Line {
  readonly id: number;
  readonly atMs: number;
  readonly sentence: string;
}

export interface PlayedMachine {
  readonly look: Look | null;
  readonly lines: readonly Line[];
  readonly error: string | null;
  /** True if its program reads. */
  readonly reads: boolean;
  /** Returns what was done to it so far. */
  readonly history: () => readonly Deed[];
  readonly do: (deed: Deed) => Promise<void>;
  /** Lets time pass. */
  readonly pass: (ms: number) => Promise<void>;
}

/** Opens a machine, and does to it what a link says. */
export function useMachine(design: TourDesign, seed: number, first: readonly Deed[]): PlayedMachine {
  const [look, setLook] = useState<Look | null>(null);
  const [lines, setLines] = useState<readonly Line[]>([]);
  const [error, setError] = useState<string | null>(null);
  const [reads, setReads] = useState(false);
  const history = useRef<readonly Deed[]>([]);
  const nextId = useRef(1);
  const perform = useCallback(async (deed: Deed): Promise<void> => {
    history.current = withDeed(history.current, deed);
    if ("reads" in deed) setReads(deed.reads);
    try {
      if ("ms" in deed) setLook(await callMachine(MACHINE, "advance", deed.ms));
      else {
        const said = "reads" in deed ? null : await callMachine(MACHINE, "act", deed.action);
        const after = said ?? (await callMachine(MACHINE, "read", "reads" in deed && deed.reads));
        const rests = "reads" in deed && !deed.reads;
        const sentence = said?.report.sentence ?? (rests ? "The program stops reading." : "The program reads.");
        const line = { id: nextId.current++, atMs: after.figures.nowMs, sentence };
        setLines((before) => [line, ...before].slice(0, MOST_LINES));
        setLook(after);
      }
    } catch (failure) {
      setError((failure as Error).message);
    }
  }, []);
  useEffect(() => {
    history.current = [];
    setLines([]);
    setReads(false);
    callMachine(MACHINE, "open", { design, seed, frames: FRAMES }).then(setLook, (failure: Error) =>
      setError(failure.message),
    );
    for (const deed of first) void perform(deed);
  }, [design, seed, perform]);
  const pass = useCallback((ms: number) => perform({ ms }), [perform]);
  return { look, lines, error, reads, history: () => history.current, do: perform, pass };
}

/** Lets time pass while `plays`: `speed` virtual milliseconds in a second, in whole ones. */
export function usePlay(plays: boolean, speed: number, pass: (ms: number) => Promise<void>): void {
  useEffect(() => {
    if (!plays) return;
    let isOver = false;
    let isBusy = false;
    let last = performance.now();
    let dueMs = 0;
    const frame = (now: number): void => {
      if (isOver) return;
      requestAnimationFrame(frame);
      dueMs = Math.min(dueMs + ((now - last) * speed) / 1000, MOST_STEP_MS);
      last = now;
      if (isBusy || dueMs < 1) return;
      const ms = Math.floor(dueMs);
      dueMs -= ms;
      isBusy = true;
      void pass(ms).then(() => {
        isBusy = false;
      });
    };
    requestAnimationFrame(frame);
    return () => {
      isOver = true;
    };
  }, [plays, speed, pass]);
}
