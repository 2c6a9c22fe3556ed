#!/bin/bash
# options.sh - the options of -o, and the command line as a whole.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

M=$T/mnt
with() { # OPTIONS COMMAND...: run the command while mounted with them
	local options=$1 status

	shift
	mount_at "$T/store" "$M" -o "$options" || return
	"$@"
	status=$?
	"$VARVE" umount "$M" || return
	return $status
}
writes() { echo "$1" >"$M/file" && [ "$(cat "$M/file")" = "$1" ]; }
has() { [ "$(cat "$M/file")" = "$1" ]; }

for o in memory=16M memory=65536k memory=1G memory=33554432 commit=1 commit=3600 sync \
	compress=none compress=lz4 compress=zstd noatime relatime strictatime writeback threads=1 \
	threads=8 idle_halt halt rw nosuid,nodev,noexec default_permissions max_read=65536 \
	auto_unmount; do
	ok "-o $o" with "$o" writes "$o"
	ok "... and files stay" with rw has "$o"
done
ok "options of fstab" with defaults,_netdev,noauto,nofail,user,x-systemd.automount,x-gvfs-show \
	writes fstab

ok "mounts read-only" mount_at "$T/store" "$M" -o ro
is "ro: reads" "$(cat "$M/file")" fstab
out=$(touch "$M/new" 2>&1)
is "ro: no writes" "${out##*: }" "Read-only file system"
before=$(cd "$T/store" && find . -type f -printf '%p %s %T@\n' | sort)
ls -lR "$M" >/dev/null
is "ro: not a byte of the store changes" \
	"$(cd "$T/store" && find . -type f -printf '%p %s %T@\n' | sort)" "$before"
ok "ro: unmounts" "$VARVE" umount "$M"
refuses "ro: makes no store" 1 "no store there" "$VARVE" mount -o ro "$T/none" "$M"

ok "as mount(8) calls it" "$VARVE" "$T/store" "$M" -o rw,noatime
ok "... mounts" has fstab
is "... and is listed as" "$(awk -v m="$M" '$2 == m { print $1, $3 }' /proc/mounts)" \
	"$T/store fuse.varve"
ok "umount" "$VARVE" umount "$M"
ok "options first" "$VARVE" -o ro "$T/store" "$M"
ok "umount" "$VARVE" umount "$M"
ok "options last" "$VARVE" mount "$T/store" "$M" -o ro
ok "umount" "$VARVE" umount "$M"
ok "a path with blanks, commas and backslashes" mount_at "$T/a, b\\c" "$T/m, n\\o"
is "... is listed whole" "$(findmnt -n -o SOURCE "$T/m, n\\o" 2>/dev/null || echo "$T/a, b\\c")" \
	"$T/a, b\\c"
refuses "... and found as a store in use" 1 "mounted at $T/m, n" "$VARVE" ls "$T/a, b\\c"
ok "... and unmounted" "$VARVE" umount "$T/m, n\\o"
for path in "#1" "tab	tab" "line
line" "\\134"; do
	ok "a path with $(printf %q "$path")" mount_at "$T/s$path" "$T/m$path"
	refuses "... is found as a store in use" 1 "mounted at" "$VARVE" ls "$T/s$path"
	ok "... and unmounted" "$VARVE" umount "$T/m$path"
done
(cd "$T" && "$VARVE" mount store mnt)
is "relative paths" "$(cat "$M/file")" fstab
(cd "$T" && "$VARVE" umount mnt)
not_ok "... both ways" is_mounted "$M"

for o in nonsense memory memory= memory=x memory=1 memory=15M memory=1Mx memory=99999999999G \
	memory=-1 commit=0 commit=x commit=-1 commit=3601 compress=gzip compress= threads=0 \
	threads=65 sync=1 max_read=1 rw,nope; do
	refuses "-o $o" 2 "varve mount --help" "$VARVE" mount -o "$o" "$T/store" "$M"
done
refuses "a misspelt option" 2 "comit=3, perhaps meant as commit=;" \
	"$VARVE" mount -o ro,comit=3 "$T/store" "$M"
refuses "an option like no other" 2 "unknown option: xyz; see" "$VARVE" mount -o xyz "$T/store" "$M"
refuses "an unknown flag" 2 "varve mount --help" "$VARVE" mount -q "$T/store" "$M"
refuses "no mount point" 2 "usage" "$VARVE" mount "$T/store"
refuses "three arguments" 2 "usage" "$VARVE" mount "$T/store" "$M" "$M"
refuses "nothing" 2 "varve --help" "$VARVE"
refuses "an unknown command" 2 "varve --help" "$VARVE" nonsense
refuses "an option of another command" 2 "varve ls --help" "$VARVE" ls --json "$T/store"
not_ok "nothing was mounted" is_mounted "$M"

is "--version" "$("$VARVE" --version | grep -cE '^varve [0-9]+\.[0-9]+')" 1
ok "--help" "$VARVE" --help
for c in mount umount check ls get put rm scan stat compact; do
	is "$c --help" "$("$VARVE" $c --help | head -n 1 | grep -c "^usage: varve $c ")" 1
	ok "... is in the man page" grep -q "^.Cm $c" "$tests_dir/../../mount/varve.1"
done
if command -v groff >/dev/null; then
	is "the man page has no warnings" \
		"$(groff -mandoc -ww -Tutf8 "$tests_dir/../../mount/varve.1" 2>&1 >/dev/null)" ""
fi

done_testing
