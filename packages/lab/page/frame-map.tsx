/** A map of a machine's frames: a canvas with a pixel for each, which the style enlarges. */

import { useEffect, useRef, useState } from "preact/hooks";
import { FRAME_STATES } from "../src/tour/frame-states.js";

export interface FrameMapProps {
  readonly states: Uint8Array;
  /** Description for those who can't see it. */
  readonly label: string;
}

/** Colours by state, as words of a pixel (ABGR), from the page's style. */
function palette(element: HTMLElement): Uint32Array {
  const style = getComputedStyle(element);
  return Uint32Array.from(FRAME_STATES, (state) => {
    const [, red = "0", green = "0", blue = "0"] =
      /^#(..)(..)(..)$/.exec(style.getPropertyValue(`--${state.replace(" ", "-")}`).trim()) ?? [];
    const [r, g, b] = [red, green, blue].map((part) => Number.parseInt(part, 16)) as [number, number, number];
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

/** Columns of the map: a power of two, so that an area of 2 MiB is whole rows. */
function columnsOf(frames: number): number {
  return 2 ** Math.ceil(Math.log2(Math.sqrt(frames)));
}

/** Counts changes between light and dark. */
function useTheme(): number {
  const [changes, setChanges] = useState(0);
  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const changed = (): void => setChanges((count) => count + 1);
    dark.addEventListener("change", changed);
    return () => dark.removeEventListener("change", changed);
  }, []);
  return changes;
}

export function FrameMap({ states, label }: FrameMapProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = useTheme();
  const columns = columnsOf(states.length);
  const rows = Math.ceil(states.length / columns);
  const colours = useRef<{ readonly theme: number; readonly words: Uint32Array } | null>(null);
  useEffect(() => {
    const element = canvas.current;
    const context = element?.getContext("2d");
    if (!element || !context) return;
    if (colours.current?.theme !== theme) colours.current = { theme, words: palette(element) };
    const { words } = colours.current;
    const image = context.createImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    for (let frame = 0; frame < states.length; frame++) pixels[frame] = words[states[frame]!]!;
    context.putImageData(image, 0, 0);
  }, [states, theme, columns, rows]);
  return <canvas class="frames" ref={canvas} width={columns} height={rows} role="img" aria-label={label} />;
}

/** The words for the colours. */
export function Legend({ states }: { readonly states: readonly (typeof FRAME_STATES)[number][] }) {
  return (
    <ul class="legend" aria-label="Colours of the map">
      {states.map((state) => (
        <li key={state}>
          <span class={`swatch ${state.replace(" ", "-")}`} aria-hidden="true" />
          {MEANINGS[state]}
        </li>
      ))}
    </ul>
  );
}

const MEANINGS: Record<(typeof FRAME_STATES)[number], string> = {
  free: "free",
  mapped: "in use",
  pinned: "pinned: can't be moved",
  leased: "leased: pinned until somebody asks",
  "in flight": "the disk is reading into it now",
  writeback: "being written back",
  moved: "moved by the last compaction",
  huge: "part of a huge page",
};
