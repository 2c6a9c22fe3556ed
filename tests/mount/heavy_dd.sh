#!/bin/bash
# One big file of DD_MIB: written, read back, removed, and its space given back
# within 10 s; the daemon writes at most 1.15 bytes to disk for each byte of it.

. "$(dirname "$0")/heavy_lib.sh"

full DD_MIB 2048 256
size=$((DD_MIB << 20))

disk_use() { du -s --block-size=1 "$STORE" | cut -f 1; }

# Print how many bytes the daemon had the kernel write to a disk. On tmpfs these are none;
# then print the bytes it passed to write(2).
written() {
	local field=write_bytes
	[ "$(stat -f -c %T "$T")" = tmpfs ] && field=wchar
	awk -v field=$field: '$1 == field { print $2 }' "/proc/$PID/io"
}

dd if=/dev/urandom of="$T/source" bs=1M count="$DD_MIB" status=none ||
	bail 'no room for the source'

mount_store
echo small >"$MNT/small" && rm "$MNT/small"
sync -f "$MNT"
use_before=$(disk_use)
written_before=$(written)

ok "dd of $DD_MIB MiB" dd if="$T/source" of="$MNT/big" bs=1M conv=fsync status=none
ok 'reads back equal' cmp "$T/source" "$MNT/big"
sleep 6 # beyond the commit interval: what is written later on its account counts too
bytes=$(($(written) - written_before))
percent=$((bytes * 100 / size))
diag "written to disk: $percent % of the file"
holds 'bytes written to disk are at most 115 % of the file' "$percent <= 115"
holds 'and no fewer than the file has' "$percent >= 100"
use=$(($(disk_use) - use_before))
holds 'the store has grown by at least the file' "$use >= size"
holds 'and by little more' "$use <= size + size / 8 + (64 << 20)"

ok 'umount' unmount_store
mount_store
ok 'reads back equal after a remount' cmp "$T/source" "$MNT/big"
ok 'a part of it, read alone' cmp -n 1000000 -i $((size / 2 + 12345)) "$T/source" "$MNT/big"

ok 'rm' rm "$MNT/big"
allowed=$((use_before + (size / 10) + (16 << 20)))
for _ in {1..100}; do
	[ "$(disk_use)" -le $allowed ] && break
	sleep 0.1
done
use=$(disk_use)
diag "disk use: $((use_before >> 20)) MiB before, $((use >> 20)) MiB now"
holds 'disk use is back within 10 s' "$use <= allowed"
ok 'umount again' unmount_store
ok 'check' "$VARVE" check "$STORE"
done_testing
