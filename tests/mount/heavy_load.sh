#!/bin/bash
# LOAD_SECONDS of load by eight writers and eight readers with memory=64M: the daemon's
# memory is bounded and does not grow, no call takes more than a second, nothing is lost.
# churn/churn.c describes the load. Files are made, overwritten, appended to, renamed and removed:
# mostly small ones, and some of 1 to 64 MiB. Readers list folders and compare what they read.
#
# The test always prints how long calls took. Only the full form fails if they took too long, and
# it should have the machine to itself. Memory is sampled every second. The first sixth of the time
# does not count, as caches fill then.

. "$(dirname "$0")/churn_lib.sh"

full LOAD_SECONDS 1800 10
MEMORY_MIB=64
: "${SEED:=$((RANDOM * 32768 + RANDOM))}"
diag "SEED=$SEED"

resident_kib() {
	awk '$1 == "VmRSS:" { print $2 }' "/proc/$PID/status"
}
most() { # FIRST LAST: MiB, of the samples in between
	awk -v first="$1" -v last="$2" 'NR > first && NR <= last && $1 > most { most = $1 }
		END { print int(most / 1024) }' "$T/resident"
}

mount_store -o "memory=${MEMORY_MIB}M"
start_churn 8 8 1000 128 "$SEED"
churns 'sets up' fill 200
churn load big
for ((i = 0; i < LOAD_SECONDS; i++)); do
	sleep 1
	resident_kib >>"$T/resident"
done
churns 'each call was answered as it has to be' stop
diag "$answer"
churn report
read -r _ slowest_ms slowest <<<"$answer"
if [ "${HEAVY:-}" = full ]; then
	holds "no call took more than a second ($slowest: $slowest_ms ms)" 'slowest_ms < 1000'
else
	diag "slowest: $slowest, $slowest_ms ms"
fi
early=$(most $((LOAD_SECONDS / 6)) $((LOAD_SECONDS / 2)))
late=$(most $((LOAD_SECONDS / 2)) "$LOAD_SECONDS")
diag "resident: at most $early MiB in the first half, $late MiB in the second"
if [ -z "${SANITIZED:-}" ]; then
	holds 'memory stays below the budget and 64 MiB' \
		"early < MEMORY_MIB + 64 && late < MEMORY_MIB + 64"
	holds 'memory does not grow' "LOAD_SECONDS < 300 || late <= early + 8"
fi
diag "$("$VARVE" stat "$MNT" | grep -vE '^$' | head -n 40 | sed '2,$s/^/# /')"
churns 'nothing is lost' verify
ok 'umount' unmount_store
mount_store -o "memory=${MEMORY_MIB}M"
churns 'nothing is lost, after a remount' verify
ok 'umount again' unmount_store
ok 'check' "$VARVE" check "$STORE"
end_churn
done_testing
