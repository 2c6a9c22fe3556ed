#!/bin/bash
# kill.sh - the daemon is killed: no call that returned is lost, and the next mount
# replaces the dead one.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

ok "mounts" mount_at "$T/store" "$T/mnt"
M=$T/mnt

echo kept >"$M/kept"
mkdir "$M/dir" && echo inner >"$M/dir/inner"
head -c 500000 /dev/urandom >"$T/random"
cp "$T/random" "$M/random"
ln "$M/kept" "$M/link"
rm "$M/dir/inner"
mv "$M/dir" "$M/moved"
kill -9 "$(daemon_of "$M")"

ok "the next mount takes the dead one away" "$VARVE" mount "$T/store" "$M"
is "one mount is left" "$(grep -cF " $M " /proc/self/mountinfo)" 1
is "a file that was closed is whole" "$(cat "$M/kept")" kept
ok "so is a large one" cmp "$M/random" "$T/random"
is "a link counts" "$(stat -c %h "$M/kept")" 2
is "a removal and a rename are done" "$(find "$M/moved")" "$M/moved"

# The daemon may still be ending when the next mount comes.
for i in $(seq 10); do
	echo "$i" >"$M/round"
	kill -9 "$(daemon_of "$M")"
	"$VARVE" mount "$T/store" "$M" 2>"$T/err" || break
	[ "$(cat "$M/round")" = "$i" ] || break
done
is "ten times in a row" "$i:$(cat "$T/err")" "10:"

# A kill in the middle of a copy: all files that were copied are complete.
mkdir "$T/src"
for i in $(seq 400); do head -c $((i * 37)) "$T/random" >"$T/src/f$i"; done
for round in 1 2 3; do
	rm -rf "$M/copy" && mkdir "$M/copy"
	(
		cd "$T/src" || exit
		for f in *; do cp "$f" "$M/copy/$f" 2>/dev/null && echo "$f" || break; done
	) >"$T/done" &
	sleep "0.$round"
	kill -9 "$(daemon_of "$M")"
	wait $!
	"$VARVE" mount "$T/store" "$M"
	bad=
	while read -r f; do
		cmp -s "$T/src/$f" "$M/copy/$f" || bad="$bad $f"
	done <"$T/done"
	is "killed in a copy after $(wc -l <"$T/done") files: each is whole" "$bad" ""
done

# A file was open and had no name when the daemon died: the next mount frees its space.
exec 7>"$M/nameless"
head -c 300000 "$T/random" >&7
rm "$M/nameless"
kill -9 "$(daemon_of "$M")"
exec 7>&- 2>/dev/null
ok "mounts with an orphan" "$VARVE" mount "$T/store" "$M"
ok "umount" "$VARVE" umount "$M"
ok "check is clean" "$VARVE" check "$T/store"

# A dead mount is unmounted.
ok "mounts" "$VARVE" mount "$T/store" "$M"
kill -9 "$(daemon_of "$M")"
ok "varve umount takes a dead mount away" "$VARVE" umount "$M"
not_ok "... for good" is_mounted "$M"

# Several dead mounts, one on the other.
"$VARVE" mount "$T/store" "$M" && kill -9 "$(daemon_of "$M")"
if [ "$(id -u)" = 0 ]; then
	mount --bind "$M" "$M" 2>/dev/null
	ok "two dead mounts in one place" "$VARVE" mount "$T/store" "$M"
	is "... are both gone" "$(grep -cF " $M " /proc/self/mountinfo)" 1
fi

done_testing
