/** The designs of machines to look at. */

/**
 * Linux with a registration for ever; the proposal's kernel, where a registration isn't a pin; Linux with leases of
 * pinless.
 */
export const TOUR_DESIGNS = ["pins", "proposal", "leases"] as const;
export type TourDesign = (typeof TOUR_DESIGNS)[number];
