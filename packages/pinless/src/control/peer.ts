import type { Socket } from "node:net";
import { peerOf } from "../linux/libc.js";

/** Process at the other end; null if Node doesn't expose the descriptor. */
export function peerOfSocket(socket: Socket): { readonly pid: number; readonly uid: number } | null {
  const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
  const peer = fd < 0 ? -1 : peerOf(fd);
  return typeof peer === "number" ? null : peer;
}
