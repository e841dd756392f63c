// Statistics of a few rounds.

/** The value below which `share` of the list is; the middle of an even list is the upper one of the two. */
export function quantile(list, share) {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export const median = (list) => quantile(list, 0.5);
