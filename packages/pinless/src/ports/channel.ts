/** Ports of shared arenas: a channel to another thread of this process. */

/** Token of a shared arena: a port that `arena.share()` makes, to be transferred to the thread that attaches it. */
export type ArenaToken = InstanceType<typeof MessagePort>;

/** A channel between two threads. Messages arrive in their order. */
export interface Channel {
  send(message: unknown): void;
  /**
   * Sets the receivers, once: of messages, also of those that came before; and of the end of the channel, by the other
   * side's `close` or the end of its thread, after its last message.
   */
  listen(received: (message: never) => void, ended: () => void): void;
  /** Sets if the channel keeps the process alive, because an answer is awaited. */
  keepAlive(yes: boolean): void;
  close(): void;
}

export interface Channels {
  /** Opens a channel. The token is its other side, whose first message is `first`. */
  open(first: unknown): { readonly channel: Channel; readonly token: ArenaToken };
  /**
   * Takes the other side. Returns null for anything but a token; `first` is undefined if the token was taken before, or
   * the channel isn't one of `open`.
   */
  take(token: unknown): { readonly channel: Channel; readonly first: unknown } | null;
}
