#!/bin/bash
# readers.sh - several readers of one directory, and changes in it: the kernel keeps one list for
# all, and each reader still gets every name that was there all the while, once.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

if ! command -v python3 >/dev/null; then
	skip "several readers" "no python3"
	done_testing
fi
ok "mounts" mount_at "$T/store" "$T/mnt"
cat >"$T/readers.py" <<'END'
import os
import sys

FILES, GONE = 4000, 700
path = os.path.join(sys.argv[1], "dir")
os.mkdir(path)
names = [f"a name of some length {i:06}" for i in range(FILES)]
for name in names:
    open(os.path.join(path, name), "x").close()

# The first reader stops after the first of several chunks that the kernel hands out.
first = os.scandir(path)
seen = [next(first).name]
# Then names go that it has, and a second reader makes the kernel's list anew.
for name in names[:GONE]:
    os.unlink(os.path.join(path, name))
second = sorted(entry.name for entry in os.scandir(path))
seen += [entry.name for entry in first]
print("second", second == names[GONE:])
print("missed", len(set(names[GONE:]) - set(seen)))
print("twice", len(seen) - len(set(seen)))
END
is "a reader that goes on after a second one has read all misses nothing" \
	"$(python3 "$T/readers.py" "$T/mnt")" "second True
missed 0
twice 0"
ok "umount" "$VARVE" umount "$T/mnt"

done_testing
