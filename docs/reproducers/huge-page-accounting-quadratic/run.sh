#!/usr/bin/env bash
# run.sh [live registrations at most, of 2 MiB each; default 1000]
# As root it lets the kernel give folios of 64 KiB, too.
. "$(dirname "$0")/../common.sh"
build accounting.c -luring
max=${1:-1000}
available=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
[ "$available" -gt $((max * 2048 * 3 / 2)) ] || cant "not enough memory for $max times 2 MiB"
limit=$(ulimit -l)
[ "$limit" = unlimited ] || [ "$(id -u)" -eq 0 ] || [ "$limit" -gt $(((max + 4) * 2048)) ] ||
  cant "RLIMIT_MEMLOCK is $limit KiB: root has none"
setting=/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled
if [ "$(id -u)" -eq 0 ] && [ -w $setting ]; then
  undo+=("echo $(sed 's/.*\[\(.*\)\].*/\1/' $setting) >$setting")
  echo madvise >$setting
fi

"$work/accounting" "$max" | tee "$work/table"

# The work for a huge page is so much more with others live that no noise is: tenfold is far below it.
read -r _ small0 _ huge0 _ < <(sed -n 2p "$work/table")
read -r _ small _ huge _ folios _ < <(tail -n 1 "$work/table")
ratio() { awk "BEGIN { printf \"%.1f\", $1 / $2 }"; }
verdict="not shown" status=1
if awk "BEGIN { exit !($huge > 10 * $huge0 && $small < 4 * $small0) }"; then verdict="harm shown" status=0; fi
echo "$verdict: with $max live registrations a huge page's takes $(ratio "$huge" "$huge0") times as long ($huge us," \
  "64 KiB folios: $folios us); control, 4 KiB pages: $(ratio "$small" "$small0") times"
exit $status
