#!/bin/bash
# The daemon is killed at random moments while eight writers work, and no call that returned may
# be lost. There are KILL_ROUNDS rounds on a disk with room, and FULL_ROUNDS rounds on a disk that
# fills up (and is still full at many of the mounts). churn/churn.c describes the load and what has
# to hold. The rounds have different mount options, in turn.
#
# In each round the daemon is killed. In every second round its successor is killed as well, while
# it opens the store. Then `varve check` has to be clean, and all files are compared. Every tenth
# round ends with an ordinary umount instead of a kill. SEED repeats the choice of calls and pauses,
# but not the timing of the machine.

. "$(dirname "$0")/churn_lib.sh"

full KILL_ROUNDS 200 6
full FULL_ROUNDS 50 4
FREE_MIB=16
full KILL_MS_MAX 1000 400
: "${SEED:=$((RANDOM * 32768 + RANDOM))}"
RANDOM=$((SEED % 32768))
diag "SEED=$SEED"

pause() { # MS_MAX
	local ms=$(((RANDOM * 32768 + RANDOM) % $1))
	sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

# Start a daemon and kill it while it recovers the store, or soon after.
kill_in_open() {
	"$VARVE" mount -f "$@" "$STORE" "$MNT" 2>>"$T/open.err" &
	pause 60
	kill -9 $!
	wait $! 2>/dev/null
}

# ROUNDS LOAD_WORDS OPTIONS...: run the rounds on one store, with the options in turn.
rounds() {
	local last=$1 how=$2 round options load

	shift 2
	for ((round = 1; round <= last; round++)); do
		options=${*:$((round % $# + 1)):1}
		mount_store -o "$options"
		load="load $how"
		[[ $options == *writeback* ]] && load+=' writeback'
		churn "$load"
		pause "$KILL_MS_MAX"
		if ((round % 10 == 0)); then
			churn stop
			"$VARVE" umount "$MNT" || fail "round $round: umount"
		else
			kill -9 "$PID"
			wait_gone "$PID" || bail 'the daemon outlives kill -9'
			churns "round $round, $options: the answers are right" stop || return
			((round % 2)) && kill_in_open -o "$options"
		fi
		ok "round $round: check is clean" "$VARVE" check "$STORE"
		mount_store -o "$options"
		churns "round $round, $options: nothing is lost" verify || return
		unmount_store || fail "round $round: umount"
	done
	diag "$answer"
}

# A disk that fills up: deleting always works, and gives room again.
room_again() {
	local tries=100

	while ! { head -c 8000000 /dev/urandom >"$MNT/again"; } 2>/dev/null && ((tries-- > 0)); do
		sleep 0.1
	done
	test "$(stat -c %s "$MNT/again")" = 8000000
}

mount_store
start_churn 8 0 56 4 "$SEED"
churns 'sets up' fill 20
unmount_store
rounds "$KILL_ROUNDS" '' memory=256M memory=16M writeback memory=16M,writeback \
	memory=16M,compress=zstd memory=16M,threads=1
end_churn

truncate -s 96M "$T/image"
mkdir "$T/disk"
if [ "$(id -u)" != 0 ] || ! mkfs.ext4 -q "$T/image" ||
	! mount -o loop "$T/image" "$T/disk" 2>/dev/null; then
	skip 'killed on a full disk' 'it needs root and a loop device'
	done_testing
fi
STORE=$T/disk/store
mount_store -o memory=16M
start_churn 8 0 56 40 "$SEED"
churns 'on a small disk: sets up' fill 20
unmount_store
# Most of the disk is taken away, so that it fills up soon.
free_mib=$(df --output=avail -m "$T/disk" | tail -n 1)
fallocate -l "$((free_mib - FREE_MIB))M" "$T/disk/ballast"
rounds "$FULL_ROUNDS" full memory=16M memory=256M memory=16M,compress=zstd
mount_store -o memory=16M
churns 'on a full disk, all can be deleted' empty
ok 'and there is room again' room_again
churns 'nothing is left' verify
ok 'umount' unmount_store
ok 'check' "$VARVE" check "$STORE"
end_churn
umount "$T/disk"
done_testing
