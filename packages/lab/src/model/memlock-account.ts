/**
 * RLIMIT_MEMLOCK: accounts the pages that rings and registrations of all of a user's processes lock (io_account_mem).
 * Root has CAP_IPC_LOCK and isn't charged; I/O without a registration isn't charged either. In the proposal
 * registrations lock nothing.
 *
 * A registration of any part of a huge page is charged for all of it, but only the first one is (io_buffer_account_pin
 * looks at the registrations of the same ring; the model looks at those of the same user).
 */

import { ENOMEM, PAGE_BYTES } from "pinless/portable";
import type { Frames } from "./frames.js";
import {
  ACCOUNT_PAGES,
  ACCOUNT_USER,
  HUGE,
  HUGE_PAGES,
  SLOT_EMPTY,
  SLOT_FIRST_PAGE,
  SLOT_PAGES,
  SLOT_STATE,
  SLOT_WORDS,
} from "./tables.js";

/** User number of root, who has no limit. */
export const ROOT = -1;

/** Pages that a ring locks: those of its submission queue entries, and those of its header and queues. */
export function ringPages(submissions: number, completions: number): number {
  // Bytes of a submission queue entry, a completion queue entry, an index, and the header (with the fields that pinless
  // leaves room for).
  const [sqe, cqe, index, header] = [64, 16, 4, 1024];
  const queues = header + powerOfTwo(completions) * cqe + powerOfTwo(submissions) * index;
  return Math.ceil((powerOfTwo(submissions) * sqe) / PAGE_BYTES) + Math.ceil(queues / PAGE_BYTES);
}

function powerOfTwo(least: number): number {
  return 2 ** Math.ceil(Math.log2(least));
}

/** Charges a user for pages. Returns 0, or -ENOMEM if the limit would be exceeded. */
export function lock(frames: Frames, user: number, pages: number): number {
  const { memlock } = frames.size;
  if (user === ROOT || memlock === undefined) return 0;
  const at = frames.layout.locked + user;
  if (frames.words[at]! + pages > memlock.pages) return -ENOMEM;
  frames.words[at]! += pages;
  return 0;
}

export function unlock(frames: Frames, user: number, pages: number): void {
  if (user !== ROOT && frames.size.memlock !== undefined) frames.words[frames.layout.locked + user]! -= pages;
}

/** Charges for the registration in a slot that isn't live yet. Returns 0 or -ENOMEM. */
export function chargeSlot(frames: Frames, entry: number, user: number): number {
  const { slotAccount } = frames.layout;
  if (slotAccount === 0 || user === ROOT || frames.design === "notifier") return 0;
  const pages = chargeOf(frames, entry, user);
  const refused = lock(frames, user, pages);
  if (refused < 0) return refused;
  frames.words[entry + slotAccount + ACCOUNT_USER] = user + 1;
  frames.words[entry + slotAccount + ACCOUNT_PAGES] = pages;
  return 0;
}

export function unchargeSlot(frames: Frames, entry: number): void {
  const { slotAccount } = frames.layout;
  if (slotAccount === 0) return;
  const user = frames.words[entry + slotAccount + ACCOUNT_USER]! - 1;
  if (user >= 0) unlock(frames, user, frames.words[entry + slotAccount + ACCOUNT_PAGES]!);
}

function chargeOf(frames: Frames, entry: number, user: number): number {
  const { words } = frames;
  const first = words[entry + SLOT_FIRST_PAGE]!;
  let pages = 0;
  let lastHuge = -1;
  for (let i = 0; i < words[entry + SLOT_PAGES]!; i++) {
    const huge = Math.floor((first + i) / HUGE_PAGES);
    if (!frames.frameIs(words[entry + SLOT_WORDS + i]!, HUGE)) pages++;
    else if (huge !== lastHuge) {
      lastHuge = huge;
      if (!isCharged(frames, user, huge)) pages += HUGE_PAGES;
    }
  }
  return pages;
}

/** True if another registration of the user covers a part of this huge page. */
function isCharged(frames: Frames, user: number, huge: number): boolean {
  const { slots, slotAccount } = frames.layout;
  for (let other = slots.at; other < slots.at + slots.entries * slots.entryWords; other += slots.entryWords) {
    const theirs = frames.words[other + slotAccount + ACCOUNT_USER]! - 1;
    if (frames.words[other + SLOT_STATE] === SLOT_EMPTY || theirs !== user) continue;
    const first = frames.words[other + SLOT_FIRST_PAGE]!;
    const last = first + frames.words[other + SLOT_PAGES]! - 1;
    if (first < (huge + 1) * HUGE_PAGES && last >= huge * HUGE_PAGES) return true;
  }
  return false;
}
