#!/bin/bash
# One big file of DD_MIB: written, read back, removed, and its space given back
# within 10 s; the daemon writes at most 1.15 bytes to disk for each byte of it.

. "$(dirname "$0")/lib.sh"

[ "${HEAVY:-}" = full ] && : "${DD_MIB:=2048}"
: "${DD_MIB:=256}"
size=$((DD_MIB << 20))

disk_use() { du -s --block-size=1 "$STORE" | cut -f 1; }

# What the daemon had the kernel write to a disk. On tmpfs that is nothing; what it
# passed to write(2) then stands for it.
written() {
	local field=write_bytes
	[ "$(stat -f -c %T "$DIR")" = tmpfs ] && field=wchar
	awk -v field=$field: '$1 == field { print $2 }' "/proc/$PID/io"
}

dd if=/dev/urandom of="$DIR/source" bs=1M count="$DD_MIB" status=none ||
	{ echo 'Bail out! no room for the source'; exit 1; }

mount_store
echo small >"$MNT/small" && rm "$MNT/small"
sync -f "$MNT"
use_before=$(disk_use)
written_before=$(written)

run "dd of $DD_MIB MiB" dd if="$DIR/source" of="$MNT/big" bs=1M conv=fsync status=none
run 'reads back equal' cmp "$DIR/source" "$MNT/big"
sleep 6 # beyond the commit interval: what is written later on its account counts too
bytes=$(($(written) - written_before))
percent=$((bytes * 100 / size))
ok $((percent > 115)) "bytes written to disk are at most 115 % of the file, got $percent %"
ok $((percent < 100)) 'and no fewer than the file has'
use=$(($(disk_use) - use_before))
ok $((use < size)) 'the store has grown by at least the file'
ok $((use > size + size / 8 + (64 << 20))) "and by little more, got $((use >> 20)) MiB"

run 'umount' unmount_store
mount_store
run 'reads back equal after a remount' cmp "$DIR/source" "$MNT/big"
run 'a part of it, read alone' cmp -n 1000000 -i $((size / 2 + 12345)) "$DIR/source" "$MNT/big"

run 'rm' rm "$MNT/big"
allowed=$((use_before + (size / 10) + (16 << 20)))
for _ in {1..100}; do
	[ "$(disk_use)" -le $allowed ] && break
	sleep 0.1
done
use=$(disk_use)
diag "disk use: $((use_before >> 20)) MiB before, $((use >> 20)) MiB now"
ok $((use > allowed)) 'disk use is back within 10 s'
run 'umount again' unmount_store
run 'check' "$VARVE" check "$STORE"
finish
