/** The views of the page, in the order of its navigation. Each has a folder of its own. */

import type { ComponentType } from "preact";
import type { ViewProps } from "./link.js";
import { MachineView } from "./machine/machine-view.js";
import { ScenesView } from "./scenes/scenes-view.js";
import { TracesView } from "./traces/traces-view.js";

export interface PageView {
  /** The word in a link. */
  readonly id: string;
  readonly title: string;
  readonly View: ComponentType<ViewProps>;
}

export const VIEWS: readonly [PageView, ...PageView[]] = [
  { id: "scenes", title: "Scenes", View: ScenesView },
  { id: "machine", title: "Machine", View: MachineView },
  { id: "traces", title: "Traces", View: TracesView },
];
