# shellcheck shell=bash
# What the heavy tests share, beyond lib.sh: one store, one mount point, and the
# process of the daemon behind it. HEAVY=full asks for an issue's full figures;
# each size has a variable of its own as well.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

STORE=$T/store
MNT=$T/mnt
PID=

# full VARIABLE FULL SHORT: its value, unless the environment has one.
full() {
	local value=$3
	[ "${HEAVY:-}" = full ] && value=$2
	printf -v "$1" '%s' "${!1:-$value}"
}

# holds WHAT CONDITION: an arithmetic one.
holds() {
	if (($2)); then pass "$1"; else fail "$1" "$2"; fi
}

diag() {
	echo "# $*"
}

bail() {
	echo "Bail out! $*"
	exit 255
}

mount_store() { # [ARGUMENT...]: mount, or end the test; the daemon is $PID
	mount_at "$STORE" "$MNT" "$@" || bail 'the store does not mount'
	PID=$(daemon_of "$MNT")
	[ -n "$PID" ] || bail 'the daemon does not tell its process'
}

unmount_store() {
	"$VARVE" umount "$MNT"
}
