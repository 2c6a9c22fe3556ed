# lib.sh - what the shell tests of the mount share. Source it first; call `done_testing` last.
#
# Every test has a scratch directory ($T) and uses the program $VARVE (build/varve
# unless set). On exit all mounts below the scratch directory are removed. Nothing is
# built here. With CI set, no test is skipped: a missing program is a failure.
# shellcheck shell=bash

set -u
export LC_ALL=C

tests_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VARVE=$(realpath -m "${VARVE:-$tests_dir/../../build/varve}")
# shellcheck source=tests/support/tap.sh
. "$tests_dir/../support/tap.sh"

if ! [ -x "$VARVE" ]; then
	echo "Bail out! no program $VARVE: build it first"
	exit 255
fi

T=$(mktemp -d "${TMPDIR:-/tmp}/varve-test.XXXXXX") || exit 255
T=$(realpath "$T")
chmod 755 "$T"

clean_up() {
	local status=$? mnt

	cd /
	# The newest goes first, as a mount may lie on another one.
	while IFS= read -r mnt; do
		printf -v mnt '%b' "${mnt//\\/\\0}" # a blank is \040 there
		umount -l "$mnt" 2>/dev/null || fusermount3 -u -z "$mnt" 2>/dev/null
	done < <(awk -v t="$T/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo | tac)
	# A daemon ends after its unmount. Its store may be removed only then.
	local pid
	for pid in $(daemons); do
		wait_gone "$pid" || kill -9 "$pid"
	done
	rm -rf --one-file-system "$T" 2>/dev/null
	exit $status
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Print the process ids of the daemons that work below the scratch directory.
daemons() {
	local proc exe

	for proc in /proc/[0-9]*; do
		exe=$(readlink "$proc/exe" 2>/dev/null) || continue
		[ "$exe" = "$VARVE" ] || [ "$exe" = "$T/bin/varve" ] || continue
		tr '\0' ' ' <"$proc/cmdline" 2>/dev/null | grep -qF "$T" && echo "${proc#/proc/}"
	done
}

# refuses WHAT STATUS PATTERN COMMAND...: the command exits with STATUS and prints one message
# on stderr. The message begins with "varve: ", matches PATTERN, and says after a semicolon what
# to do.
refuses() {
	local what=$1 want=$2 pattern=$3 out status

	shift 3
	out=$("$@" 2>&1 >/dev/null)
	status=$?
	if [ $status -ne "$want" ]; then
		fail "$what" "exit $status, not $want: $*" "$out"
	elif ! grep -qE "^varve: .*;" <<<"$out" || ! grep -qE -- "$pattern" <<<"$out"; then
		fail "$what" "the message is not as it should be ($pattern):" "$out"
	else
		pass "$what"
	fi
}

skip() { # WHAT WHY
	if [ -n "${CI:-}" ]; then
		fail "$1" "must not be skipped in CI: $2"
	else
		count=$((count + 1))
		echo "ok $count # SKIP $1: $2"
	fi
}

# only_root WHY: end the test, as skipped, unless root runs it.
only_root() {
	[ "$(id -u)" = 0 ] && return
	echo "1..0 # SKIP $1"
	exit 0
}

# Mount $1 at $2 (made if it is not there), with further arguments before them.
mount_at() { # STORE MOUNTPOINT [ARGUMENT...]
	local store=$1 mnt=$2

	shift 2
	[ -d "$mnt" ] || mkdir -p "$mnt" 2>/dev/null
	"$VARVE" mount "$@" "$store" "$mnt"
}

# python_with MODULE: print a Python 3 that has the module. The system's packages install modules
# for the system's Python. Another Python may be first in PATH.
python_with() {
	local python

	for python in python3 /usr/bin/python3; do
		"$python" -c "import $1" 2>/dev/null && echo "$python" && return
	done
	return 1
}

# The process id of the daemon that mounted at $1.
daemon_of() {
	"$VARVE" stat --json "$1" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'
}

# Process $1 is gone, or a zombie without other threads. The main thread of a killed
# process may end before the threads that keep its files open.
is_gone() {
	! kill -0 "$1" 2>/dev/null ||
		{
			grep -q '^State:.Z' "/proc/$1/status" &&
				[ "$(find "/proc/$1/task" -mindepth 1 -maxdepth 1 | wc -l)" -le 1 ]
		} 2>/dev/null
}
wait_gone() {
	local tries=200

	while [ $tries -gt 0 ] && ! is_gone "$1"; do
		sleep 0.05
		tries=$((tries - 1))
	done
	[ $tries -gt 0 ]
}

is_mounted() {
	grep -qF " $1 " /proc/self/mountinfo
}

# as_user COMMAND...: run it as an ordinary user: the present one, unless that is root.
as_user() {
	if [ "$(id -u)" != 0 ]; then
		"$@"
	else
		setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
	fi
}

# Prepare for an ordinary user: a program and a directory ($U) that the user can reach,
# and access to the device, as udev gives it. (Without udev only root has access.)
user_setup() {
	U=$T/user
	mkdir "$U" "$T/bin"
	cp "$VARVE" "$T/bin/varve"
	chmod 755 "$T/bin" "$T/bin/varve"
	# shellcheck disable=SC2034 # for the tests
	USER_VARVE=$T/bin/varve
	if [ "$(id -u)" = 0 ]; then
		chown 65534:65534 "$U"
		[ -e /dev/fuse ] && chmod a+rw /dev/fuse
	fi
}
