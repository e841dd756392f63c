/** Direction of a transfer, as its caller sees it. Numbers, because words of requests and the hot path hold them. */

/** Bytes of the file go to memory: the device writes into it. */
export const READ = 0;
/** Bytes of memory go to the file: the device reads from it. */
export const WRITE = 1;
export type Direction = typeof READ | typeof WRITE;
