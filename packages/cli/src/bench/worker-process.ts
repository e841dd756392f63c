/** One configuration's process: does the tasks that the bench sends, one after the other, and goes when the bench does. */

import { isUnavailable } from "./bench-error.js";
import { perform } from "./tasks.js";
import type { Reply, Request } from "./worker-protocol.js";

process.on("disconnect", () => process.exit());

process.on("message", (request: Request) => {
  perform(request).then(
    (answer) => reply({ answer }),
    (error: unknown) =>
      reply({ error: error instanceof Error ? error.message : String(error), unavailable: isUnavailable(error) }),
  );
});

// The bench may have gone while this module was being loaded.
if (!process.connected) process.exit();

function reply(message: Reply): void {
  // The callback takes the error of a bench that has gone; "disconnect" does the rest.
  if (process.connected) process.send?.(message, () => {});
}
