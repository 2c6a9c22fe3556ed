#!/bin/bash
# heavy_random.sh - random calls of several users have the same results on a mount and on an ext4.
# RANDOM_CALLS says how many, RANDOM_SEED which ones. By default they are the same ones each time.
# The full form takes other ones each time.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

only_root "only root can be several users, and mount an ext4"
calls=${RANDOM_CALLS:-1000}
seed=${RANDOM_SEED:-1}
if [ "${HEAVY:-}" = full ]; then
	calls=${RANDOM_CALLS:-100000}
	seed=${RANDOM_SEED:-$(date +%s)}
fi

mkdir "$T/ext4"
truncate -s 256M "$T/image"
if ! python=$(python_with hypothesis) || ! mkfs.ext4 -q -I 256 "$T/image" 2>"$T/err" ||
	! mount -o loop,relatime "$T/image" "$T/ext4" 2>>"$T/err"; then
	skip "random calls" "no hypothesis for Python, or no ext4: $(head -n 1 "$T/err")"
	done_testing
fi
chmod 755 "$T/ext4"
ok "mounts" mount_at "$T/store" "$T/mnt" -o allow_other,suid,dev,relatime
chmod 755 "$T/mnt"
export PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=$T/hypothesis
# Up to 5000 calls are one run of the program.
round=0
while [ $calls -gt 0 ]; do
	n=$((calls < 5000 ? calls : 5000))
	calls=$((calls - n))
	mkdir "$T/mnt/$round" "$T/ext4/$round"
	ok "seed $seed.$round: $n calls" "$python" "$tests_dir/random_calls.py" \
		"$T/mnt/$round" "$T/ext4/$round" $seed.$round $n
	round=$((round + 1))
done
ok "umount" "$VARVE" umount "$T/mnt"
ok "check is clean" "$VARVE" check "$T/store"
umount "$T/ext4"

done_testing
