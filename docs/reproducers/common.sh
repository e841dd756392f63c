# For the run.sh beside it: makes what a reproducer needs and undoes it on every exit, in the opposite order.
# Exit codes: 0 harm shown and control clean, 1 not so, 77 can't run here, else an error.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/reproducer.XXXXXX")
undo=()

end() {
  local status=$? i
  trap '' INT TERM HUP # what is being undone is undone to the end
  set +e
  for ((i = ${#undo[@]} - 1; i >= 0; i--)); do
    eval "${undo[i]}" || { echo "could not undo: ${undo[i]}" >&2 && status=2; }
  done
  rm -rf --one-file-system "$work"
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

cant() {
  echo "can't run here: $*"
  exit 77
}

needs() {
  local tool
  for tool in "$@"; do
    [ "$tool" != root ] || [ "$(id -u)" -eq 0 ] || cant 'needs root'
    [ "$tool" = root ] || command -v "$tool" >/dev/null || cant "no $tool"
  done
}

# build SOURCE [option…]: the program is $work/NAME.
build() {
  needs "${CC:-cc}"
  local source=$1
  "${CC:-cc}" -O2 -Wall -Wextra -Werror -o "$work/$(basename "$source" .c)" "$here/$source" "${@:2}" || exit 2
}

# disk memory|TMPDIR FILESYSTEM MIB [option of mkfs…]: a fresh one on a loop device of its own, $device, mounted at $mnt. Its image lies in
# memory (fast), or in TMPDIR (as slow as what is below that, without the page cache between).
disk() {
  local place=$1 filesystem=$2 mib=$3 at
  needs root losetup "mkfs.$filesystem"
  at=$(mktemp -d "$work/disk.XXXXXX")
  mnt=$at/mnt
  mkdir "$at/image" "$mnt"
  if [ "$place" = memory ]; then
    mount -t tmpfs -o "size=${mib}M" reproducer "$at/image" || cant 'no tmpfs'
    undo+=("umount $at/image")
  fi
  truncate -s "${mib}M" "$at/image/disk"
  device=$(losetup --find --show "$at/image/disk") || cant 'no loop device'
  undo+=("losetup -d $device")
  if [ "$place" = TMPDIR ]; then losetup --direct-io=on "$device" || cant 'no direct I/O in TMPDIR'; fi
  "mkfs.$filesystem" -q "${@:4}" "$device" >/dev/null || cant "mkfs.$filesystem failed"
  mount "$device" "$mnt" || cant "no $filesystem in this kernel"
  undo+=("umount $mnt")
}

# number WHAT: from the line "WHAT: N of M …" on stdin.
number() {
  sed -n "s/^$1: \([0-9]*\) of .*/\1/p"
}
