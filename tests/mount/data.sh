#!/bin/bash
# data.sh - file data by all the ways programs write it: sparse, direct, synced, appended,
# through mappings, copied within, unlinked while open.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

ok "mounts" mount_at "$T/store" "$T/mnt"
cd "$T/mnt" || exit
head -c 1500000 /dev/urandom >"$T/random"

# Make the same writes on the mount and on another filesystem, to compare them.
# shellcheck disable=SC2034 # F is for the command
both() { # WHAT COMMAND (with F the file)
	local F

	F=$T/mnt/f && eval "$2" >/dev/null 2>&1
	local here=$?
	F=$T/f && eval "$2" >/dev/null 2>&1
	local there=$?
	if [ $here = $there ] && cmp "$T/mnt/f" "$T/f"; then
		pass "$1"
	else
		fail "$1" "exit $here, beside it $there: $2"
	fi
}
both "a large file" 'cp "$T/random" "$F"'
both "a write over its middle" 'dd if=/dev/zero of="$F" bs=1000 seek=333 count=5 conv=notrunc'
both "many small writes over it" 'for i in 1 70000 131071 131072 131073 999999; do
	printf "%s" "word$i" | dd of="$F" bs=1 seek=$i conv=notrunc; done'
both "a hole behind its end" 'printf end | dd of="$F" bs=1 seek=3000000 conv=notrunc'
both "a shorter one" 'truncate -s 123457 "$F"'
both "a longer one, zeros where data was" 'truncate -s 400000 "$F"'
both "fallocate -p" 'fallocate -p -o 5000 -l 100000 "$F"'
both "fallocate -z" 'fallocate -z -o 110000 -l 5000 "$F"'
both "fallocate -l beyond the end" 'fallocate -o 390000 -l 50000 "$F"'
both "fallocate -n" 'fallocate -n -l 900000 "$F"'
both "appending" 'for i in $(seq 50); do echo "line $i" >>"$F"; done'
both "direct writes" 'dd if="$T/random" of="$F" bs=4096 count=300 oflag=direct'
both "direct reads" 'dd if="$F" of=/dev/null bs=4096 iflag=direct && dd if="$F" bs=4096 \
	iflag=direct status=none | cmp -n 1228800 - "$T/random"'
both "synced writes" 'dd if="$T/random" of="$F" bs=10000 count=20 oflag=sync'
both "dsynced writes" 'dd if="$T/random" of="$F" bs=10000 count=20 oflag=dsync'
both "writes of one byte" 'head -c 3000 "$T/random" | dd of="$F" bs=1'
both "across the limit of small files" 'head -c 2000 "$T/random" >"$F"
	head -c 100 "$T/random" >>"$F"
	truncate -s 1999 "$F"; head -c 9000 "$T/random" >>"$F"'

truncate -s 10G sparse
is "a sparse file takes no space" "$(stat -c %b sparse)" 0
printf x | dd of=sparse bs=1 seek=5G conv=notrunc status=none
ok "... and one byte of it little" test "$(stat -c %b sparse)" -le 512
is "... and is found" "$(dd if=sparse bs=1 skip=5G count=1 status=none)" x
rm sparse

cp "$T/random" a
sync -f a
before=$(du -s --block-size=1 "$T/store" | cut -f 1)
ok "cp within the mount" cp a b
for i in 1 2 3 4 5 6 7 8 9; do cp b shared$i; done
sync -f b
ok "... shares the copied data" \
	test $(($(du -s --block-size=1 "$T/store" | cut -f 1) - before)) -lt 1000000
ok "... copies" cmp a b
ok "... and again" cmp a shared9
rm shared*
printf changed | dd of=a conv=notrunc status=none
ok "... but not data that is written later" cmp b "$T/random"

exec 7<>open
echo "still here" >&7
rm open
is "a file removed while open can be read" \
	"$(cat /proc/self/fd/7 2>/dev/null || cat <&7)" "still here"
echo more >&7
is "... and written" "$(wc -c </proc/self/fd/7)" 16
exec 7>&-

if command -v python3 >/dev/null; then
	cat >"$T/io.py" <<'EOP'
import mmap, os, sys
d = sys.argv[1]
p = os.path.join(d, "mapped")
with open(p, "wb") as f:
    f.write(b"a" * 100000)
with open(p, "r+b") as f:
    m = mmap.mmap(f.fileno(), 0)
    m[5000:5003] = b"xyz"
    m.flush()
    m.close()
assert open(p, "rb").read() == b"a" * 5000 + b"xyz" + b"a" * 94997
fd = os.open(p, os.O_RDWR)
os.ftruncate(fd, 0)
os.pwrite(fd, b"d" * 10000, 1000000)
assert os.lseek(fd, 0, os.SEEK_DATA) <= 1000000
assert os.lseek(fd, 1000000, os.SEEK_DATA) == 1000000
assert os.lseek(fd, 1000000, os.SEEK_HOLE) == 1010000
try:
    os.lseek(fd, 1010000, os.SEEK_DATA)
    assert False
except OSError as e:
    assert e.errno == 6
out = os.open(os.path.join(d, "copied"), os.O_RDWR | os.O_CREAT)
n = 0
while n < 10000:
    n += os.copy_file_range(fd, out, 10000 - n, 1000000 + n, 5 + n)
assert os.pread(out, 20000, 0) == b"\0" * 5 + b"d" * 10000
os.fsync(out)
os.fdatasync(out)
app = os.open(os.path.join(d, "app"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
app2 = os.open(os.path.join(d, "app"), os.O_WRONLY | os.O_APPEND)
for i in range(100):
    os.write(app, b"1")
    os.write(app2, b"2")
assert open(os.path.join(d, "app"), "rb").read() == b"12" * 100
a, b = os.path.join(d, "xa"), os.path.join(d, "xb")
open(a, "w").write("a")
fd = os.open(d, os.O_RDONLY)
os.fsync(fd)
EOP
	ok "mappings, SEEK_DATA, copy_file_range, two appenders, fsync" python3 "$T/io.py" "$T/mnt"
else
	skip "mappings and more" "no python3"
fi

cd /
ok "umount" "$VARVE" umount "$T/mnt"
ok "check is clean" "$VARVE" check "$T/store"
ok "remounts" "$VARVE" mount "$T/store" "$T/mnt"
ok "the data is still right" cmp "$T/mnt/f" "$T/f"
ok "so is the other" cmp "$T/mnt/b" "$T/random"

done_testing
