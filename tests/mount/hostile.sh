#!/bin/bash
# hostile.sh - a store written by an attacker, users with access to the mount, and the
# hardening that the binary was built with.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

M=$T/mnt
S=$T/store
mkdir "$M"

# ---- files of a store that are none ----
umask 000
"$VARVE" mount "$S" "$M" && echo precious >"$M/file" && "$VARVE" umount "$M"
is "a store is its owner's alone" "$(stat -c %a "$S"; find "$S" -type f ! -perm 600)" 700
umask 022
echo letter >"$T/letter"
chmod 600 "$T/letter"
strange() { # WHAT FILE COMMAND (with $f the file)
	local f
	rm -rf "$T/copy"
	cp -a "$S" "$T/copy"
	# shellcheck disable=SC2034 # for the command
	f=$T/copy/$2
	eval "$3"
	refuses "$1: a reader" 1 . timeout 120 "$VARVE" ls "$T/copy"
	refuses "$1: a check" 1 . timeout 120 "$VARVE" check "$T/copy"
	refuses "$1: a mount" 1 . timeout 120 "$VARVE" mount "$T/copy" "$M"
	refuses "$1: a mount to read" 1 . timeout 120 "$VARVE" mount -o ro "$T/copy" "$M"
}
manifest=$(sed -n 's/^manifest //p' "$S/CURRENT").man
for file in LOCK CURRENT "$manifest"; do
	strange "${file/$manifest/manifest} as a fifo" "$file" 'rm -f "$f"; mkfifo "$f"'
	strange "... as a symbolic link" "$file" 'rm -f "$f"; ln -s "$T/letter" "$f"'
	strange "... as a directory" "$file" 'rm -f "$f"; mkdir "$f"'
done
is "nothing was written elsewhere" "$(cat "$T/letter")" letter
rm -rf "$T/copy" && cp -a "$S" "$T/copy"
ln -f "$T/letter" "$T/copy/LOCK"
ok "a LOCK with another name" "$VARVE" ls "$T/copy"
ok "... mounts" mount_at "$T/copy" "$M"
ok "umount" "$VARVE" umount "$M"
is "... but is not written to" "$(cat "$T/letter")" letter

# ---- names that a terminal would obey ----
said=$("$VARVE" get "$S" $'no\033[2Jsuch' 2>&1)
is "no control bytes in a message" "$said" "${said//$'\033'/?}"
ok "... which is one" grep -q 'no?\[2Jsuch' <<<"$said"

# ---- users that were let in ----
if [ "$(id -u)" = 0 ]; then
	ok "a mount for all" mount_at "$S" "$M" -o allow_other
	options=$(awk -v m="$M" '$2 == m { print $4 }' /proc/mounts)
	is "permissions are the kernel's to check" \
		"$(grep -owE 'nosuid|nodev|default_permissions' <<<"$options" | tr '\n' ' ')" \
		"nosuid nodev default_permissions "
	chmod 777 "$M"
	user() { (cd / && as_user "$@"); }
	if command -v setfattr >/dev/null; then
		not_ok "write access to the root is not enough for compact" \
			user setfattr -n user.varve.compact -v 1 "$M"
		ok "... root may" setfattr -n user.varve.compact -v 1 "$M"
		not_ok "nobody sets its numbers" setfattr -n user.varve.stats -v 1 "$M"
	else
		skip "permission for compact" "no setfattr"
	fi
	not_ok "a user does not unmount it" user "$VARVE" umount "$M"
	ok "... nor reads the store" test -z "$(user sh -c "cat '$S'/* 2>/dev/null")"
	if [ "$(ulimit -Hn)" != unlimited ] && [ "$(ulimit -Hn)" -lt 17000 ]; then
		skip "open directories have a limit" "no process may have so many files open"
	else
		ulimit -Sn "$(ulimit -Hn)"
		is "open directories have a limit" "$(python3 - "$M" <<-'EOF'
			import errno, os, sys
			n = 0
			try:
			    while n < 20000:
			        os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
			        n += 1
			except OSError as e:
			    print(n, errno.errorcode[e.errno])
		EOF
		)" "16384 ENFILE"
	fi
	is "... that passes" "$(ls "$M")" file
	ok "umount" "$VARVE" umount "$M"
	ok "an option in an option" mount_at "$S" "$M" -o 'max_read=65536,default_permissions'
	ok "umount" "$VARVE" umount "$M"
fi
is "options that only look like others change nothing" \
	"$("$VARVE" mount -o 'allow_other\,suid' "$S" "$M" 2>&1 | grep -c 'unknown option')" 1
refuses "a very long list" 2 "varve mount --help" \
	"$VARVE" mount -o "$(head -c 100000 /dev/zero | tr '\0' x)" "$S" "$M"
refuses "format characters" 2 "varve mount --help" "$VARVE" mount -o '%n%n%s' "$S" "$M"

# ---- the binary ----
if [ -n "${SANITIZED:-}" ]; then
	pass "how it was built is not asked of a sanitizer's build"
elif ! command -v readelf >/dev/null; then
	skip "how it was built" "no readelf"
else
	elf=$(readelf -W -h -l -d --dyn-syms "$VARVE")
	ok "any address" grep -q 'Type: *DYN' <<<"$elf"
	ok "no stack that runs" grep -q 'GNU_STACK.* RW ' <<<"$elf"
	ok "relocations are read-only" grep -q GNU_RELRO <<<"$elf"
	ok "... all of them" grep -q 'Flags:.*NOW' <<<"$elf"
	ok "guarded stacks" grep -q __stack_chk_fail <<<"$elf"
	ok "checked calls of the C library" grep -q '__[a-z]*_chk@' <<<"$elf"
fi

done_testing
