#!/bin/bash
# user.sh - an ordinary user mounts, with fusermount3.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

if ! command -v fusermount3 >/dev/null; then
	skip "mounting as a user" "no fusermount3"
	done_testing
fi
user_setup
M=$U/mnt
S=$U/store
V=$USER_VARVE
as_user mkdir "$M"

ok "mounts" as_user "$V" mount "$S" "$M"
ok "writes" as_user sh -c "echo hi >$M/file"
is "reads" "$(as_user cat "$M/file")" hi
is "the mount has its owner" "$(as_user stat -c %u "$M")" "$(as_user id -u)"
ok "stat" as_user "$V" stat "$M"
ok "compact" as_user "$V" compact "$M"
ok "private directories are made" as_user sh -c "mkdir $M/d && chmod 500 $M/d"
not_ok "modes are obeyed" as_user touch "$M/d/x"
ok "cp -a" as_user cp -a /usr/include/linux/can "$M/"
ok "... copies" as_user diff -r /usr/include/linux/can "$M/can"
pid=$(as_user "$V" stat --json "$M" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
ok "umount" as_user "$V" umount "$M"
ok "... returns when the daemon is gone" is_gone "$pid"
not_ok "... and the mount" is_mounted "$M"

ok "mounts again" as_user "$V" mount "$S" "$M"
ok "finds the files from before" as_user diff -r /usr/include/linux/can "$M/can"
refuses "in use" 1 "in use" as_user sh -c "cd $M && exec $V umount $M"
pid=$(as_user "$V" stat --json "$M" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
as_user kill -9 "$pid"
ok "mounts over a dead mount" as_user "$V" mount "$S" "$M"
ok "finds the files from before" as_user diff -r /usr/include/linux/can "$M/can"
pid=$(as_user "$V" stat --json "$M" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
as_user kill -TERM "$pid"
ok "SIGTERM ends it" wait_gone "$pid"
not_ok "... and unmounts" is_mounted "$M"

mkdir "$T/roots"
chmod 755 "$T/roots"
if [ "$(id -u)" = 0 ]; then
	refuses "a directory of somebody else's" 1 "cannot mount" as_user "$V" mount "$S" "$T/roots"
	# The only thing root can do with the user's private mount is to end it.
	as_user "$V" mount "$S" "$M"
	not_ok "root does not read a private mount" cat "$M/file"
	ok "root asks for its numbers" "$VARVE" stat "$M"
	ok "root unmounts it" "$VARVE" umount "$M"
	not_ok "... for good" is_mounted "$M"
	mkdir -m 700 "$T/store.root"
	"$VARVE" put "$T/store.root" x /dev/null
	refuses "a store of somebody else's" 1 "permission" as_user "$V" ls "$T/store.root"
	refuses "... to mount" 1 "permission" as_user "$V" mount "$T/store.root" "$M"
	ok "root mounts" mount_at "$T/root.store" "$T/root.mnt"
	refuses "a user does not unmount root's" 1 "not your mount" \
		as_user "$V" umount "$T/root.mnt"
	chmod 600 /dev/fuse
	refuses "no permission for /dev/fuse" 1 "chmod 666 /dev/fuse" as_user "$V" mount "$S" "$M"
	chmod 666 /dev/fuse
	if unshare -m true 2>/dev/null; then
		# Without fusermount3, or with root's permission in /etc/fuse.conf.
		hidden() { unshare -m sh -c "$1"' && shift && exec setpriv --reuid=65534 \
			--regid=65534 --clear-groups "$@"' sh "$@"; }
		refuses "no fusermount3" 1 "install the package fuse3" hidden \
			"mount --bind /dev/null $(realpath "$(command -v fusermount3)")" \
			"$V" mount "$S" "$M"
	fi
fi
if ! grep -qs '^user_allow_other' /etc/fuse.conf; then
	refuses "allow_other without permission" 1 "user_allow_other" \
		as_user "$V" mount -o allow_other "$S" "$M"
fi

done_testing
