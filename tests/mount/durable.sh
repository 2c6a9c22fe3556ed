#!/bin/bash
# durable.sh - what is to be on disk when a call returns was synced by then; promises 2 and 4.
#
# The daemon runs with sync_log.so, which notes what it syncs, and makes syncs fail. The
# commit interval is an hour: what is synced is what was asked for.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

M=$T/mnt
S=$T/store
mkdir "$M" "$S"
export SYNC_LOG=$T/log SYNC_FAIL=$T/fail SYNC_SLOW=$T/slow
# The address sanitizer wants to be the first library, and need not be.
export ASAN_OPTIONS=verify_asan_link_order=0:${ASAN_OPTIONS:-}

mount_logged() { # OPTIONS
	LD_PRELOAD=${BUILD:-$(dirname "$VARVE")}/tests/mount/sync_log.so \
		"$VARVE" mount -o "commit=3600,$1" "$S" "$M"
}
# What was synced since the last time: log, seg, tab, man, or another name.
synced() {
	[ -e "$T/log" ] || return
	sed 's/.*\.//' "$T/log" | sort -u | tr '\n' ' '
	rm "$T/log"
}
# python3 -c: the shell has no fsync of a file that it writes to.
call() { # CODE, with f a descriptor of the file "f"
	python3 -c "import os
f = os.open('$M/f', os.O_RDWR | os.O_CREAT)
$1"
}

# The store's own folder is durable in the one above it.
ok "a new store is mounted" mount_logged noatime
is "its folder is synced in the one above" "$(grep -cx "${T##*/}" "$T/log")" 1
"$VARVE" umount "$M"

for threads in 1 2; do
	ok "mounts, threads=$threads" mount_logged threads=$threads
	synced >/dev/null
	call "os.write(f, b'x' * 100)"
	is "a write syncs nothing" "$(synced)" ""
	call "os.write(f, b'y' * 100); os.fsync(f)"
	is "the first fsync() syncs the log, which is new, and its name" "$(synced)" "log store "
	call "os.write(f, b'y' * 100); os.fsync(f)"
	is "the next one syncs the log" "$(synced)" "log "
	call "os.write(f, b'z' * 100); os.fdatasync(f)"
	is "fdatasync() does" "$(synced)" "log "
	call "os.pwrite(f, b'z' * 300000, 0); os.fsync(f)"
	is "a large value's segment is synced too, which is new" "$(synced)" "log man seg store "
	call "os.close(os.open('$M/g$threads', os.O_CREAT)); os.fsync(os.open('$M', os.O_RDONLY))"
	is "fsync() of a directory does" "$(synced)" "log "
	call "os.write(os.open('$M/f', os.O_WRONLY | os.O_SYNC), b'z')"
	is "an O_SYNC write does" "$(synced)" "log "
	call "os.write(os.open('$M/f', os.O_WRONLY | os.O_DSYNC), b'z')"
	is "an O_DSYNC write does" "$(synced)" "log "
	touch "$M/h$threads"
	is "a create syncs nothing" "$(synced)" ""
	ok "umount" "$VARVE" umount "$M"
	ok "umounting syncs the log" grep -q '\.log$' "$T/log"
done

mount_logged sync
touch "$M/zero"
synced >/dev/null
touch "$M/one"
is "-o sync: a create syncs the log" "$(synced)" "log "
mv "$M/one" "$M/two"
is "... a rename" "$(synced)" "log "
chmod 600 "$M/two"
is "... a chmod" "$(synced)" "log "
echo x >"$M/two"
is "... a write" "$(synced)" "log "
rm "$M/two"
is "... an unlink" "$(synced)" "log "
"$VARVE" umount "$M"

mount_logged noatime
touch "$M/late"
synced >/dev/null
pid=$(daemon_of "$M")
kill "$pid"
wait_gone "$pid"
ok "a daemon that is told to end syncs the log" grep -q '\.log$' "$T/log"

mount_logged noatime
call "os.write(f, b'a' * 100); os.fsync(f)"
synced >/dev/null
touch "$T/slow"
call "os.write(f, b'a' * 100); os.fsync(f)" &
sleep 0.2
# Of another file, as the kernel lets one call at a time work on one.
call "g = os.open('$M/g1', os.O_RDWR); os.write(g, b'b' * 100); os.fsync(g)"
wait
is "what is written while a sync runs needs one of its own" "$(grep -c log "$T/log")" 2
rm "$T/slow"
"$VARVE" umount "$M"

# An fsync is answered by the thread that got the request, or if there is one only, by another.
for threads in 1 2; do
	mount_logged threads=$threads
	call "os.write(f, b'a' * 100); os.fsync(f)"
	touch "$T/fail"
	errors=$(call "
for i in range(3):
    try:
        os.pwrite(f, b'b' * 100, 0)
        os.fsync(f)
        print('fine')
    except OSError as e:
        print(e.strerror)")
	is "an fsync that fails says so, and then nothing is written" "$errors" "Input/output error
Read-only file system
Read-only file system"
	rm "$T/fail"
	is "... also when the disk is well again" "$(call "
try:
    os.write(f, b'c')
except OSError as e:
    print(e.strerror)")" "Read-only file system"
	is "reading goes on" "$(head -c 1 "$M/f")" "b"
	touch "$T/fail"
	not_ok "umount says that not all is on disk" "$VARVE" umount "$M"
	rm "$T/fail"
	ok "the next mount recovers" mount_logged noatime
	is "what was written is there" "$(head -c 1 "$M/f")" "b"
	"$VARVE" umount "$M"
done
ok "check is clean" "$VARVE" check "$S"

done_testing
