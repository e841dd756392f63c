#!/usr/bin/env bash
# As root: both ways to clean pages, on a swap file of its own. As an ordinary user: MADV_FREE only.
. "$(dirname "$0")/../common.sh"
build reclaim.c -luring
head -c 4M /dev/urandom >"$work/file"
ways=free
if [ "$(id -u)" -eq 0 ]; then
  ways='free swap'
  dd if=/dev/zero of="$work/swap" bs=1M count=32 status=none
  chmod 600 "$work/swap"
  mkswap "$work/swap" >/dev/null
  # Above any other: zram, say, has no clean pages to lose.
  swapon -p 32767 "$work/swap" || cant 'no swap on a file here'
  undo+=("swapoff $work/swap")
fi

shown=0
for way in $ways; do
  declare -A lost=()
  for how in registered plain populated; do
    "$work/reclaim" "$work/file" "$way" "$how" | tee "$work/out"
    lost[$how]=$(number "$way, $how" <"$work/out")
  done
  verdict="not shown"
  if [ "${lost[registered]}" -gt 0 ] && [ $((lost[plain] + lost[populated])) -eq 0 ]; then
    verdict="harm shown"
  else
    shown=1
  fi
  echo "$verdict ($way): ${lost[registered]} of 1024 pages lost;" \
    "controls: ${lost[plain]} not registered, ${lost[populated]} with MADV_POPULATE_WRITE"
done
exit $shown
