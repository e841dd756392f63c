#!/usr/bin/env bash
# run.sh [clone|scrub|msync…] [seconds for each run; default 2]
# TMPDIR must be on a disk with direct I/O: what is read slowly lies there.
. "$(dirname "$0")/../common.sh"
[ "$(stat -f -c %T "$work")" != tmpfs ] || cant 'TMPDIR is in memory'
build device_writes.c -luring
parts=() seconds=2
for argument; do
  case $argument in
    clone | scrub | msync) parts+=("$argument") ;;
    *) seconds=$argument ;;
  esac
done
[ ${#parts[@]} -gt 0 ] || parts=(clone scrub msync)
shown=0

# Of the line "direct: 3 of 40 rounds bad, …": what follows the colon.
run() {
  "$work/device_writes" "$work" "$mnt" "$1" "$2" "$seconds" | tee "$work/out" >&2 || return
  sed -n "s/^$2: \(.* rounds\) bad.*/\1/p" "$work/out"
}

# verdict WHERE WHAT HARM CONTROL: harm and control begin with a number
verdict() {
  local said="not shown"
  if [ "${3%% *}" -gt 0 ] && [ "${4%% *}" -eq 0 ]; then said="harm shown"; else shown=1; fi
  echo "$said ($1): $2: $3; control: $4"
}

clones() {
  local direct copied
  direct=$(run clone direct)
  copied=$(run clone copied)
  verdict "$1" 'clones that changed after they were taken, or can'"'"'t be read' "$direct" "$copied"
}

clone() {
  disk memory xfs 512 -m reflink=1
  clones xfs
}

scrub() {
  needs btrfs
  disk TMPDIR btrfs 512
  clones btrfs
  local how
  declare -A errors=()
  for how in direct copied; do
    disk TMPDIR btrfs 512
    run scrub $how >/dev/null
    sync -f "$mnt"
    btrfs scrub start -B "$mnt" >/dev/null 2>&1 || true # says by its status whether it found errors
    errors[$how]=$(btrfs scrub status -R "$mnt" | sed -n 's/^[[:space:]]*csum_errors: *//p')
  done
  # Without a verdict: when the file has been rewritten as a whole since, nothing of it is left to be found.
  echo "found by scrub (btrfs): ${errors[direct]} blocks with wrong checksums; control: ${errors[copied]}"
  [ "${errors[copied]}" -eq 0 ] || shown=1
}

msync() {
  local filesystem direct copied
  for filesystem in ext4 xfs; do
    disk memory $filesystem 512
    direct=$(run "$device" direct)
    copied=$(run "$device" copied)
    verdict $filesystem 'msync returned 0 and the data was not on the disk' "$direct" "$copied"
  done
}

for part in "${parts[@]}"; do $part; done
exit $shown
