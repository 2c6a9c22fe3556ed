#!/bin/bash
# heavy_random.sh - random calls of several users, on a mount and on an ext4, have the same results.
# RANDOM_CALLS= how many; RANDOM_SEED= which: the same ones each time, others in full.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

only_root "only root can be several users, and mount an ext4"
calls=${RANDOM_CALLS:-1000}
# The default reads a directory opened with O_NOATIME, which once set atime.
seed=${RANDOM_SEED:-1795191201}
if [ "${HEAVY:-}" = full ]; then
	calls=${RANDOM_CALLS:-100000}
	seed=${RANDOM_SEED:-$(date +%s)}
fi

mkdir "$T/ext4"
truncate -s 256M "$T/image"
if ! command -v python3 >/dev/null || ! mkfs.ext4 -q -I 256 "$T/image" 2>"$T/err" ||
	! mount -o loop,relatime "$T/image" "$T/ext4" 2>>"$T/err"; then
	skip "random calls" "no python3, or no ext4: $(head -n 1 "$T/err")"
	done_testing
fi
chmod 755 "$T/ext4"
ok "mounts" mount_at "$T/store" "$T/mnt" -o allow_other,suid,dev,relatime
chmod 755 "$T/mnt"
export PYTHONDONTWRITEBYTECODE=1
# In rounds, each in new folders: what grows for long ends in few states.
round=0
while [ $calls -gt 0 ]; do
	n=$((calls < 5000 ? calls : 5000))
	calls=$((calls - n))
	mkdir "$T/mnt/$round" "$T/ext4/$round"
	ok "seed $seed.$round: $n calls" python3 "$tests_dir/random_calls.py" \
		"$T/mnt/$round" "$T/ext4/$round" $seed.$round $n
	round=$((round + 1))
done
ok "umount" "$VARVE" umount "$T/mnt"
ok "check is clean" "$VARVE" check "$T/store"
umount "$T/ext4"

done_testing
