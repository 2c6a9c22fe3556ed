#!/bin/bash
# tests/lint/rules rejects what breaks its rules, and nothing else.

rules=$(cd "$(dirname "$0")" && pwd)/rules
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

# NAME WANT FILE CONTENT: the rules say WANT (a line, or nothing) of a tree with this file in it.
try() {
	local said
	rm -rf "${dir:?}/tree"
	mkdir -p "$dir/tree/lsm/base" "$dir/tree/fs" "$dir/tree/mount" "$dir/tree/tests/lsm" \
		"$dir/tree/tests/fs"
	touch "$dir/tree/lsm/wal.h" "$dir/tree/lsm/lsm.h" "$dir/tree/fs/fs.h" "$dir/tree/fs/key.h"
	printf '%b\n' "$4" >"$dir/tree/$3"
	said=$(GIT_CEILING_DIRECTORIES=$dir bash "$rules" "$dir/tree")
	[ "$said" = "$2" ]
	result $? "$1"
	[ "$said" = "$2" ] || echo "#   said: $said"
}

try 'lsm includes its own' '' lsm/a.c '#include "lsm/wal.h"\n#include <stdio.h>'
try 'includes are written from the root' 'lsm/a.c:1: lsm/ may not include "wal.h"' \
	lsm/a.c '#include "wal.h"'
try 'the tree includes a room below' '' lsm/a.c '#include "lsm/base/buf.h"'
try 'a room below does not include the tree' \
	'lsm/base/a.c:1: lsm/base/ may not include "lsm/wal.h"' lsm/base/a.c '#include "lsm/wal.h"'
try 'lsm includes nothing above' 'lsm/a.c:1: lsm/ may not include "fs/fs.h"' \
	lsm/a.c '#include "fs/fs.h"'
try 'no way around by dots' 'lsm/a.c:1: lsm/ may not include "../fs/fs.h"' \
	lsm/a.c '#include "../fs/fs.h"'
try 'spaces hide nothing' 'lsm/a.c:1: lsm/ may not include "fs/fs.h"' \
	lsm/a.c ' # include  "fs/fs.h"'
try 'fs includes lsm.h' '' fs/a.c '#include "lsm/lsm.h"\n#include "fs/key.h"'
try 'fs includes no other header of lsm' 'fs/a.c:2: fs/ may not include "lsm/wal.h"' \
	fs/a.c '#include "lsm/lsm.h"\n#include "lsm/wal.h"'
try 'mount includes fs.h and libfuse' '' \
	mount/a.c '#include <fuse_lowlevel.h>\n#include "fs/fs.h"'
try 'mount does not reach through' 'mount/a.c:1: mount/ may not include "lsm/lsm.h"' \
	mount/a.c '#include "lsm/lsm.h"'
try 'libfuse stays in mount' 'fs/a.h:1: only mount/ may include libfuse' \
	fs/a.h '#include <fuse3/fuse_lowlevel.h>'
try 'mount locks through lock.h' '' mount/a.c '\tmutex_lock(&m);\n\tpthread_cond_signal(&c);'
for call in 'mutex_lock(' 'mutex_trylock (' 'rwlock_rdlock(' 'cond_wait(' 'cond_timedwait('; do
	try "pthread_$call" \
		'mount/a.c:2: locks are taken through lsm/base/lock.h, which checks them' \
		mount/a.c "\tpthread_mutex_t m;\n\tpthread_$call&m);"
done
try 'lock.h itself' '' lsm/base/lock.h '\tpthread_mutex_lock(&m);'
try 'the inode lock itself' '' fs/inode_lock.c '\tpthread_rwlock_rdlock(&m);'
try 'tests of lsm see lsm' '' \
	tests/lsm/test_a.c '#include "lsm/wal.h"\n#include "tests/support/tap.h"'
try 'tests of lsm see no fs' 'tests/lsm/test_a.c:1: tests/lsm/ may not include "fs/fs.h"' \
	tests/lsm/test_a.c '#include "fs/fs.h"'
try 'tests of lsm see no support for fs' \
	'tests/lsm/test_a.c:1: tests/lsm/ may not include "tests/support/fs_model.h"' \
	tests/lsm/test_a.c '#include "tests/support/fs_model.h"'
try 'tests of fs see fs' '' tests/fs/test_a.c '#include "fs/key.h"\n#include "lsm/lsm.h"'
try 'tests of fs see no inside of lsm' \
	'tests/fs/test_a.c:1: tests/fs/ may not include "lsm/wal.h"' \
	tests/fs/test_a.c '#include "lsm/wal.h"'
try 'lines of 100 columns' '' lsm/a.c "\t$(printf '%092d' 0)"
try 'lines of 101 columns' 'lsm/a.c:1: longer than 100 columns' lsm/a.c "\t$(printf '%093d' 0)"
try 'files of 1001 lines' 'lsm/a.c:1001: longer than 1000 lines' \
	lsm/a.c "$(printf '\\n%.0s' {1..1000})"
try 'a home' 'lsm/a.c:1: names a place of one machine' lsm/a.c '/* see /ho''me/me/notes */'
try 'a relative path that looks like one' '' lsm/a.c '/* {MNT}/home/me and a/root/b */'

done_testing
