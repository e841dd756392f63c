/** Takes the token of a shared arena apart. */

import type { ArenaToken, Channel, Channels } from "../ports/channel.js";
import { argumentError, PinlessError, unsupported } from "../protocol/errors.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { closedError } from "./attached-arena.js";
import type { SharedMemory } from "./sharing-messages.js";

/** Returns a token's memory, and the channel to its owner. `has` is true for memory that this engine has already. */
export function memoryOf(
  token: ArenaToken,
  channels: Channels | undefined,
  has: (range: Range) => boolean,
): { readonly channel: Channel; readonly memory: SharedMemory } {
  if (channels === undefined) throw unsupported("arenas can't be shared here: there are no other threads");
  const taken = channels.take(token);
  if (taken === null)
    throw argumentError(
      "ERR_INVALID_ARG_TYPE",
      "the token must be what arena.share() of a thread of this process returned, and transferred: " +
        `worker.postMessage(token, [token]). Received ${token === null ? "null" : typeof token}`,
    );
  const { channel } = taken;
  const memory = taken.first as SharedMemory | undefined;
  if (memory?.kind !== "memory")
    throw new PinlessError(
      "ERR_PINLESS_TOKEN",
      "the token was attached before, or isn't one of arena.share(): each is for one engine, so share() once for each",
    );
  let why: PinlessError | null = null;
  if (Atomics.load(memory.closed, 0) === 1) why = closedError();
  else if (memory.segments.some(({ range }) => has(range)))
    why = new PinlessError(
      "ERR_PINLESS_TOKEN",
      "this engine has the token's arena already: attach it to an engine of another thread",
    );
  if (why === null) return { channel, memory };
  channel.close();
  throw why;
}
