#!/bin/bash
# Run a folder of TAP tests that act on the current folder, such as a built
# checkout of pjdfstest, on a fresh mount: conformance.sh SUITE
#
# Such suites change users and make devices: they need root.

set -u
suite=${1:-}
: "${VARVE:?the varve binary}"
tests=$suite
[ -d "$suite/tests" ] && tests=$suite/tests
if [ -z "$suite" ] || ! [ -d "$tests" ]; then
	echo 'conformance: give SUITE=/path, a folder of TAP tests' >&2
	exit 2
fi
if [ "$(id -u)" != 0 ]; then
	echo 'conformance: such suites need root' >&2
	exit 2
fi
suite=$(realpath "$tests")
dir=$(mktemp -d) || exit 1
cleanup() {
	cd /
	mountpoint -q "$dir/mnt" && "$VARVE" umount "$dir/mnt"
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

chmod 755 "$dir"
mkdir "$dir/mnt"
"$VARVE" mount -o allow_other,default_permissions "$dir/store" "$dir/mnt" || exit 1
cd "$dir/mnt" || exit 1
chmod 755 .
prove -r --failures "$suite"
status=$?
cd /
"$VARVE" umount "$dir/mnt" && "$VARVE" check "$dir/store" || status=1
exit $status
