/**
 * Process of one configuration: runs the tasks that the bench sends, one after the other, and ends when the bench does.
 */

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

// The bench may have ended while this module was loading.
if (!process.connected) process.exit();

function reply(message: Reply): void {
  // The callback ignores the error if the bench has ended; "disconnect" ends this process.
  if (process.connected) process.send?.(message, () => {});
}
