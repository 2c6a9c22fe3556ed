#!/bin/bash
# full.sh - a full disk: an ordinary error, nothing lost, and room again after deleting.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

only_root "only root can make a small disk"
M=$T/mnt
mkdir "$T/disk"

fill_up() { # NAME: the kind of disk at $T/disk
	local kind=$1 i out

	ok "$kind: mounts" mount_at "$T/disk/store" "$M" -o memory=16M
	mkdir "$M/keep"
	for i in $(seq 50); do head -c $((i * 3000)) /dev/urandom >"$M/keep/$i"; done
	cp -r "$M/keep" "$T/keep"
	mkdir "$M/fill"
	for i in $(seq 200); do
		out=$(head -c 4000000 /dev/urandom 2>/dev/null |
			dd of="$M/fill/$i" bs=64k 2>&1) || break
	done
	ok "$kind: writing fails in the end" test "$i" -lt 200
	is "$kind: ... saying so" "$(grep -c 'No space left' <<<"$out")" 1
	for i in $(seq 3000); do echo small >"$M/fill/s$i" || break; done 2>/dev/null
	ok "$kind: files from before are whole" diff -r "$T/keep" "$M/keep"
	dd if=/dev/zero of="$T/disk/others" bs=4k 2>/dev/null # others take the last byte
	ok "$kind: cutting a file off works" truncate -s 0 "$M/fill/1"
	ok "$kind: making it shorter" truncate -s 100000 "$M/fill/2"
	ok "$kind: punching a hole" fallocate -p -o 0 -l 1000000 "$M/fill/3"
	ok "$kind: deleting works" rm -rf "$M/fill"
	# Space comes back within seconds, not at once.
	for i in $(seq 100); do
		sleep 0.1
		{ head -c 8000000 /dev/urandom >"$M/again"; } 2>/dev/null && break
	done
	ok "$kind: and there is room again" test "$(stat -c %s "$M/again" 2>/dev/null)" = 8000000
	not_ok "$kind: fallocate of more than there is" fallocate -l 1G "$M/keep/reserved"
	rm -f "$M/keep/reserved"
	ok "$kind: umount" "$VARVE" umount "$M"
	ok "$kind: check is clean" "$VARVE" check "$T/disk/store"
	ok "$kind: mounts again" "$VARVE" mount "$T/disk/store" "$M"
	ok "$kind: files from before are whole" diff -r "$T/keep" "$M/keep"
	ok "$kind: umount" "$VARVE" umount "$M"
	rm -rf "$T/keep" "$T/disk/others"
}

if mount -t tmpfs -o size=96m tmpfs "$T/disk" 2>/dev/null; then
	fill_up tmpfs
	umount "$T/disk"
else
	skip "a full tmpfs" "cannot mount one"
fi
truncate -s 96M "$T/image"
if mkfs.ext4 -q "$T/image" 2>/dev/null && mount -o loop "$T/image" "$T/disk" 2>/dev/null; then
	rmdir "$T/disk/lost+found"
	fill_up ext4
	umount "$T/disk"
else
	skip "a full ext4" "cannot mount a loop device here"
fi

# A store does not fit on the disk: a message says so.
if mount -t tmpfs -o size=16k tmpfs "$T/disk" 2>/dev/null; then
	refuses "no room for a store" 1 "full|No space" "$VARVE" mount "$T/disk/store" "$M"
	umount "$T/disk"
fi

done_testing
