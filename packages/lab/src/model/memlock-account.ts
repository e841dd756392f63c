/**
 * RLIMIT_MEMLOCK: what a user's rings and registrations have locked, all processes together (io_account_mem). Root, who
 * has CAP_IPC_LOCK, isn't charged; nor is anybody for what isn't registered. In the proposal registrations lock
 * nothing.
 *
 * A huge page is charged as a whole for any part of it, once: to the registration that was there first
 * (io_buffer_account_pin asks the registrations of the same ring; here it's those of the same user).
 */

import { ENOMEM, PAGE_BYTES } from "pinless/portable";
import type { Frames } from "./frames.js";
import {
  ACCOUNT_PAGES,
  ACCOUNT_USER,
  HUGE,
  SLOT_EMPTY,
  SLOT_FIRST_PAGE,
  SLOT_PAGES,
  SLOT_STATE,
  SLOT_WORDS,
} from "./tables.js";

/** Who has no limit. */
export const ROOT = -1;
const HUGE_PAGES = 512;

/** Pages of a ring: its submission queue entries, and the queues with their header, each in pages of its own. */
export function ringPages(submissions: number, completions: number): number {
  // Bytes of an entry to submit, of one that has completed, of an index, and of the header (with what pinless leaves
  // for it).
  const [sqe, cqe, index, header] = [64, 16, 4, 1024];
  const queues = header + powerOfTwo(completions) * cqe + powerOfTwo(submissions) * index;
  return Math.ceil((powerOfTwo(submissions) * sqe) / PAGE_BYTES) + Math.ceil(queues / PAGE_BYTES);
}

function powerOfTwo(least: number): number {
  return 2 ** Math.ceil(Math.log2(least));
}

/** Charges a user. 0, or -ENOMEM: nothing was charged. */
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

/** Charges for the registration in a slot that isn't live yet. 0, or -ENOMEM. */
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

/** Whether another registration of the user is of a part of this huge page. */
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
