/** Choice of the scheme: the first one, in the order of preference, that runs on this machine. */

import type { Host, StartedScheme } from "../ports/host.js";
import { type EngineSettings, SCHEMES } from "../ports/options.js";
import { PinlessError } from "../protocol/errors.js";
import { LIFETIME_SLOTS } from "./lifetime-registrations.js";

/** Starts the first scheme that works here; throws `ERR_PINLESS_UNSUPPORTED`, with what to change, if none does. */
export function startFirst(host: Host, settings: EngineSettings): StartedScheme {
  const wanted = settings.scheme === "auto" ? SCHEMES : [settings.scheme];
  const slots = settings.pin === "lease" ? settings.slots : settings.pin === "lifetime" ? LIFETIME_SLOTS : 0;
  const refusals: string[] = [];
  for (const name of wanted) {
    const started = host.startScheme(name, settings, slots);
    if (typeof started !== "string") {
      if (refusals.length > 0) started.degraded.push(...refusals);
      return started;
    }
    refusals.push(started);
  }
  throw new PinlessError("ERR_PINLESS_UNSUPPORTED", refusals.join(" "));
}
