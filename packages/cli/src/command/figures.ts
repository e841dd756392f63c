/** Renders figures as text. */

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** Renders bytes in the largest unit that gives at least 1: "512 bytes", "1.5 GiB". */
export function bytesText(value: number): string {
  const power = value === 0 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(value) / 10));
  const shown = value / 1024 ** power;
  return `${shown.toFixed(Number.isInteger(shown) ? 0 : 1)} ${UNITS[power]}`;
}

/** Renders bytes in MiB, so that figures in a column or of several lines compare. */
export function mibText(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

export function countText(value: number): string {
  return value.toLocaleString("en-US");
}
