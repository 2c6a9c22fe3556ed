#!/bin/bash
# failure.sh - each failure has a message that says what to do, and loses nothing.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

M=$T/mnt
mkdir "$M"
"$VARVE" mount "$T/store" "$M"
echo precious >"$M/file"
"$VARVE" umount "$M"

# ---- stores ----
for c in check ls scan stat compact; do
	refuses "$c: no such store" 1 "no store there" "$VARVE" $c "$T/none"
done
refuses "get: no such store" 1 "no store there" "$VARVE" get "$T/none" file
refuses "rm: no such store" 1 "no store there" "$VARVE" rm "$T/none" file
not_ok "... and none is made" test -e "$T/none"
refuses "a store in no directory" 1 "must exist" "$VARVE" mount "$T/none/store" "$M"
mkdir "$T/other"
echo mine >"$T/other/letter"
refuses "a directory with other files" 1 "not a store" "$VARVE" mount "$T/other" "$M"
refuses "... to check" 1 "no store|not a store" "$VARVE" check "$T/other"
is "... which stay alone" "$(ls "$T/other"):$(cat "$T/other/letter")" "letter:mine"
refuses "a store that is a file" 1 "not a directory" "$VARVE" mount "$T/other/letter" "$M"

"$VARVE" mount "$T/store" "$M"
mkdir "$T/mnt2"
refuses "a second mount of a store" 1 "in use.*$M" "$VARVE" mount "$T/store" "$T/mnt2"
for c in check ls scan stat compact; do
	refuses "$c: a mounted store" 1 "in use.*$M" "$VARVE" $c "$T/store"
done
refuses "put: a mounted store" 1 "in use.*$M" "$VARVE" put "$T/store" x /dev/null
refuses "rm: a mounted store" 1 "in use.*$M" "$VARVE" rm "$T/store" file
is "... goes on" "$(cat "$M/file")" precious
refuses "a second mount on a mount" 1 "mounted there already" "$VARVE" mount "$T/store2" "$M"
not_ok "... makes no store" test -e "$T/store2"
"$VARVE" umount "$M"

# ---- mount points ----
refuses "no mount point" 1 "mkdir" "$VARVE" mount "$T/store" "$T/nowhere"
echo x >"$T/file"
refuses "a file" 1 "not a directory" "$VARVE" mount "$T/store" "$T/file"
refuses "below a file" 1 "Not a directory" "$VARVE" mount "$T/store" "$T/file/x"
refuses "not empty" 1 "not empty" "$VARVE" mount "$T/store" "$T/other"
ok "... but with -o nonempty" "$VARVE" mount -o nonempty "$T/store" "$T/other"
is "... the files are the store's" "$(cat "$T/other/file")" precious
ok "umount" "$VARVE" umount "$T/other"
is "... and then one's own again" "$(cat "$T/other/letter")" mine
refuses "the store within its mount" 1 "within its own mount" \
	"$VARVE" mount -o nonempty "$T/other/store" "$T/other"
refuses "the store as its mount" 1 "within its own|not empty" "$VARVE" mount "$T/store" "$T/store"
mkdir "$T/deep"
ln -s "$T/deep" "$T/alias"
refuses "... by another name" 1 "within its own mount" \
	"$VARVE" mount "$T/alias/store" "$T/deep"
mkdir -p "$T/outer/in"
refuses "the mount within its store" 1 "within its own store" \
	"$VARVE" mount "$T/outer" "$T/outer/in"

# ---- the system ----
refuses "few open files" 1 "ulimit -n" sh -c "ulimit -n 30; exec '$VARVE' mount '$T/store' '$M'"
not_ok "nothing is mounted" is_mounted "$M"
if [ "$(id -u)" = 0 ]; then
	# Without the device: in a mount namespace of its own, where an empty file hides it.
	without() { # COMMAND TO HIDE OR CHANGE IT
		unshare -m sh -c \
			"mount -t tmpfs none /dev && $1 && exec '$VARVE' mount '$T/store' '$M'"
	}
	if unshare -m true 2>/dev/null; then
		refuses "no /dev/fuse" 1 "modprobe fuse" without true
		refuses "a dead /dev/fuse" 1 "/dev/fuse" without "mknod /dev/fuse c 10 254"
	else
		skip "no /dev/fuse" "no mount namespaces"
	fi
	refuses "root without the right to mount" 1 "cannot mount|no permission" \
		setpriv --bounding-set -sys_admin --inh-caps -sys_admin \
		"$VARVE" mount "$T/store" "$M"
fi
refuses "/dev/full" 1 "stdout.*" sh -c "'$VARVE' scan '$T/store' >/dev/full; \
	s=\$?; echo 'varve: ;' >&2; exit \$s"

# ---- damage: wrong bytes are never returned, and check tells ----
"$VARVE" mount "$T/store" "$M"
mkdir "$M/d"
for i in $(seq 300); do
	{
		echo "$i"
		head -c $((i * 101 % 30000)) /dev/urandom
	} >"$M/d/$i"
done
(cd "$M/d" && md5sum -- *) >"$T/sums"
"$VARVE" umount "$M"
"$VARVE" compact "$T/store"
"$VARVE" check "$T/store" >/dev/null || fail "the store is clean before"

# Each file on the mount has its content, or reading it is an error.
judge() { # WHAT
	local wrong lost

	if "$VARVE" mount "$T/hurt" "$M" 2>"$T/err"; then
		(cd "$M/d" 2>/dev/null && md5sum -- *) >"$T/got" 2>/dev/null
		"$VARVE" umount "$M" 2>/dev/null
		wrong=$(grep -vxFf "$T/sums" "$T/got")
		lost=$((300 - $(wc -l <"$T/got")))
		is "$1: no wrong bytes (and $lost of 300 unreadable)" "$wrong" ""
	elif grep -qE '^varve: .*;' "$T/err"; then
		pass "$1: refused in words"
	else
		fail "$1: refused without words" "$(cat "$T/err")"
	fi
}
hurt() { # WHAT FILE COMMAND (with $f the file)
	local f=$T/hurt/$2

	rm -rf "$T/hurt"
	cp -a "$T/store" "$T/hurt"
	eval "$3"
	cmp -s "$f" "$T/store/$2" && return
	out=$("$VARVE" check "$T/hurt" 2>&1)
	case $? in
	0) checked=clean ;;
	1) checked=damaged ;;
	*) fail "$1: check exits 0 or 1" "$out" ;;
	esac
	judge "$1 (check: $checked)"
}
for file in $(cd "$T/store" && find . -type f -size +0 -printf '%P\n' | sort); do
	size=$(stat -c %s "$T/store/$file")
	# Take the middle of the bytes that are not zeros: a log is longer than its records.
	used=$(tr -d '\0' <"$T/store/$file" | wc -c)
	[ "$used" -gt 0 ] || continue
	# shellcheck disable=SC2034 # for the commands below
	at=$((used / 2 < size ? used / 2 : 0))
	hurt "a bit of $file" "$file" 'b=$(od -An -tu1 -j $at -N 1 "$f")
		printf "$(printf "\\\\%03o" $((b ^ 16)))" |
			dd of="$f" bs=1 seek=$at conv=notrunc status=none'
	if [ "${out:+x}" ] && [ "$checked" = clean ] && [ "$used" = "$size" ]; then
		fail "a bit of $file: check sees it" "$out"
	fi
	hurt "$file cut in half" "$file" 'truncate -s $((size / 2)) "$f"'
	hurt "$file emptied" "$file" ': >"$f"'
	hurt "$file gone" "$file" 'rm "$f"'
done
if [ "$(id -u)" != 0 ]; then
	rm -rf "$T/hurt" && cp -a "$T/store" "$T/hurt" && chmod 000 "$T"/hurt/*
	refuses "unreadable files" 1 "permission|denied" "$VARVE" mount "$T/hurt" "$M"
	chmod 700 "$T"/hurt/*
fi
is "the store itself is as it was" "$("$VARVE" get "$T/store" file)" precious

done_testing
