/** Faults of the machine's requests and registrations, for simulations. */

import { EAGAIN, EINTR, EIO } from "pinless/portable";

/** Errors of requests that nothing is wrong with. */
export const FAILURES: readonly number[] = [EIO, EAGAIN, EINTR];
/** Probabilities that a request or a call fails although nothing is wrong with it. */
export interface ModelFaults {
  /** It ends with EIO, EAGAIN or EINTR, which its caller has to handle. */
  readonly fails: number;
  /** The transfer ends early. */
  readonly short: number;
  /** The kernel doesn't begin it, as where it can start no thread of its own. */
  readonly refuses: number;
  /** A registration is refused with ENOMEM. */
  readonly noLease: number;
  /** The device stands still for some seconds before it serves the request. */
  readonly stalls: number;
  /** The completion comes some time after the data. */
  readonly late: number;
}

export const NO_FAULTS: ModelFaults = { fails: 0, short: 0, refuses: 0, noLease: 0, stalls: 0, late: 0 };
