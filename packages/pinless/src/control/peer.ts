import type { Socket } from "node:net";
import { peerOf } from "../linux/libc.js";

/** Who is at the other end; null where Node doesn't let the descriptor be seen. */
export function peerOfSocket(socket: Socket): { readonly pid: number; readonly uid: number } | null {
  const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
  const peer = fd < 0 ? -1 : peerOf(fd);
  return typeof peer === "number" ? null : peer;
}
