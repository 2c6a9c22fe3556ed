#!/bin/bash
# calls.sh - the rules of single system calls (calls*.py) on a mount for all, and what is left.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

only_root "only root can be several users"
if ! command -v python3 >/dev/null; then
	skip "system calls" "no python3"
	done_testing
fi

# The lines of calls.py as tests of ours.
report() {
	local line what

	while IFS= read -r line; do
		what="$1: ${line#*- }"
		case $line in
		ok*) pass "$what" ;;
		"not ok"*) fail "$what" ;;
		1..*) planned=$((planned + ${line#1..})) ;;
		*) echo "$line" ;;
		esac
	done <"$T/out"
}

# run OPTIONS PROGRAM...: on a mount with them.
run() {
	local options=$1 program

	shift
	ok "mounts with $options" mount_at "$T/store" "$T/mnt" -o "$options"
	chmod 755 "$T/mnt"
	for program; do
		mkdir "$T/mnt/$options-$program"
		CALLS_MOUNT=$T/mnt python3 "$tests_dir/$program.py" "$T/mnt/$options-$program" \
			>"$T/out" 2>"$T/err"
		report "$options"
		is "... nothing on stderr" "$(cat "$T/err")" ""
		planned=$((planned + 1))
	done
	planned=$((planned + 3))
	ok "umount" "$VARVE" umount "$T/mnt"
	ok "check is clean" "$VARVE" check "$T/store"
}

planned=1
export CALLS_XATTR_BYTES=65536 PYTHONDONTWRITEBYTECODE=1
run allow_other,suid,dev calls calls_paths calls_data
CALLS_WRITEBACK=1 run allow_other,suid,dev,writeback calls calls_paths calls_data
for mode in relatime strictatime noatime; do
	CALLS_ATIME=$mode run $mode calls_atime
done
is "all of them ran" $count $((planned - 1))

done_testing
