#!/bin/bash
# stress.sh - many processes on one mount, each checking what it did, while the store is
# scrubbed again and again; then `varve check`. STRESS_PROCESSES (4), STRESS_STEPS (150).
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

processes=${STRESS_PROCESSES:-4}
steps=${STRESS_STEPS:-150}
mnt=$T/mnt

# A small memory, so that memtables are flushed and inodes are forgotten.
ok "mount" mount_at "$T/store" "$mnt" -o memory=16M
mkdir "$mnt/shared"
pids=()
for n in $(seq "$processes"); do
	python3 "$tests_dir/stress.py" "$mnt" "$n" "$steps" >"$T/out$n" 2>&1 &
	pids+=($!)
done
running() {
	local pid

	for pid in "${pids[@]}"; do
		is_gone "$pid" || return 0
	done
	return 1
}

scrubs=0
wrong=0
while running || [ $scrubs = 0 ]; do
	"$VARVE" scrub --rate=0 "$mnt" >"$T/scrub" 2>&1 || {
		wrong=$((wrong + 1))
		sed 's/^/# /' "$T/scrub"
	}
	scrubs=$((scrubs + 1))
done
for n in $(seq "$processes"); do
	wait "${pids[n - 1]}"
	is "process $n: every answer was right" $? 0
	[ -s "$T/out$n" ] && sed 's/^/# /' "$T/out$n"
done
is "scrubs meanwhile that found anything" $wrong 0
echo "# $scrubs scrubs"
ok "unmount" "$VARVE" umount "$mnt"
ok "check" "$VARVE" check "$T/store"
done_testing
