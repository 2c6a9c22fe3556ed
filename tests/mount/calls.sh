#!/bin/bash
# calls.sh - the rules of single system calls (calls_*.py), on mounts with different options.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

only_root "only root can be several users"
if ! command -v python3 >/dev/null; then
	skip "system calls" "no python3"
	done_testing
fi

# report PREFIX: repeat the TAP lines in $T/out as tests of this script.
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

# run OPTIONS SUBJECT...: run calls_SUBJECT.py for each subject, on a mount with the options.
run() {
	local options=$1 subject

	shift
	ok "mounts with $options" mount_at "$T/store" "$T/mnt" -o "$options"
	chmod 755 "$T/mnt"
	for subject; do
		mkdir "$T/mnt/$options-$subject"
		CALLS_MOUNT=$T/mnt python3 "$tests_dir/calls_$subject.py" \
			"$T/mnt/$options-$subject" >"$T/out" 2>"$T/err"
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
subjects=(names paths attributes times data locks directories)
run allow_other,suid,dev "${subjects[@]}"
CALLS_WRITEBACK=1 run allow_other,suid,dev,writeback "${subjects[@]}"
for mode in relatime strictatime noatime; do
	CALLS_ATIME=$mode run $mode atime
done
is "all of them ran" $count $((planned - 1))

done_testing
