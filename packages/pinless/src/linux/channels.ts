/** Implements the `Channels` port with Node's message ports. */

import { MessageChannel, MessagePort, receiveMessageOnPort } from "node:worker_threads";
import type { Channel, Channels } from "../ports/channel.js";

/** Ports that were taken. */
const taken = new WeakSet<MessagePort>();

export const channels: Channels = {
  open(first) {
    const { port1, port2: token } = new MessageChannel();
    port1.postMessage(first);
    return { channel: channelOf(port1), token };
  },
  take(token) {
    if (!(token instanceof MessagePort)) return null;
    const first = taken.has(token) ? undefined : (receiveMessageOnPort(token)?.message as unknown);
    taken.add(token);
    return { channel: channelOf(token), first };
  },
};

function channelOf(port: MessagePort): Channel {
  return {
    send: (message) => port.postMessage(message),
    listen(received, ended) {
      port.on("message", received as (message: unknown) => void);
      port.once("close", ended);
      port.unref();
    },
    keepAlive: (yes) => (yes ? port.ref() : port.unref()),
    close: () => port.close(),
  };
}
