# shellcheck shell=bash
# Functions for the heavy tests, besides those of lib.sh: one store, its mount point, and
# the process of its daemon. HEAVY=full asks for the full sizes. Each size has a variable
# of its own as well.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

STORE=$T/store
MNT=$T/mnt
PID=

# full VARIABLE FULL SHORT: set it to the full or the short value, unless it is set already.
full() {
	local value=$3
	[ "${HEAVY:-}" = full ] && value=$2
	printf -v "$1" '%s' "${!1:-$value}"
}

# holds WHAT CONDITION: a test that an arithmetic condition is true.
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
