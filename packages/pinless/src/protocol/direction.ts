/**
 * Direction of a transfer. READ and WRITE are the caller's, as in read(2) and write(2): to read a file is to have the
 * device write to memory. Rules about memory say "device write" and "device read". Directions are numbers, because
 * words of requests hold them.
 */

/** Reads a file: a device write, from the file to memory. */
export const READ = 0;
/** Writes a file: a device read, from memory to the file. */
export const WRITE = 1;
export type Direction = typeof READ | typeof WRITE;
