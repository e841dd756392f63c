/** Numbers as fio prints them: a few significant digits, and a prefix of 1000 or 1024. */

const PREFIXES = ["", "k", "M", "G", "T", "P"];
const BINARY_PREFIXES = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];

/**
 * Text of a whole number in at most `digits` characters before the prefix. As fio's, the last digit of a fraction is
 * rounded, and a number without a fraction is rounded half up.
 */
export function shortText(value: number, digits: number, isBinary: boolean, unit = ""): string {
  const base = isBinary ? 1024 : 1000;
  const prefixes = isBinary ? BINARY_PREFIXES : PREFIXES;
  let whole = Math.floor(value);
  let rest: number | null = null;
  let power = 0;
  for (; String(whole).length > digits && power < prefixes.length - 1; power++) {
    rest = whole % base;
    whole = Math.floor(whole / base);
  }
  const suffix = `${prefixes[power]}${unit}`;
  const decimals = digits - String(whole).length - 1;
  if (rest === null) return `${whole}${suffix}`;
  if (decimals < 1) return `${whole + (rest >= base / 2 ? 1 : 0)}${suffix}`;
  // Only the digits after the point count: fio doesn't carry a fraction that rounds up to one.
  return `${whole}.${(rest / base).toFixed(decimals).slice(2)}${suffix}`;
}

/** Text of a number with a fixed number of decimals, padded on the left as by printf. */
export function fixedText(value: number, decimals: number, width = 0): string {
  return value.toFixed(decimals).padStart(width);
}

/** Date and time as asctime(3). */
export function timeText(at: Date): string {
  const [weekday, month] = at.toDateString().split(" ");
  const day = String(at.getDate()).padStart(2);
  return `${weekday} ${month} ${day} ${at.toTimeString().slice(0, 8)} ${at.getFullYear()}`;
}
