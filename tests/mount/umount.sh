#!/bin/bash
# umount.sh - the ways a mount ends: varve umount, umount(8), signals; each leaves
# everything on disk, and the store free for the next.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

M=$T/mnt
ok "mounts" mount_at "$T/store" "$M"
echo one >"$M/one"
pid=$(daemon_of "$M")
ok "varve umount" "$VARVE" umount "$M"
ok "... returns when the daemon is gone" is_gone "$pid"
not_ok "... and the mount" is_mounted "$M"
is "... and the store is free" "$("$VARVE" get "$T/store" one)" one

ok "mounts again" "$VARVE" mount "$T/store" "$M"
cd "$M" || exit
refuses "a mount in use is not unmounted" 1 "in use" "$VARVE" umount "$M"
ok "... and goes on" test -e "$M/one"
cd /
ok "... until it is not in use" "$VARVE" umount "$M"

refuses "a folder that is no mount" 1 "no Varve mount" "$VARVE" umount "$M"
refuses "a path that does not exist" 1 "no Varve mount" "$VARVE" umount "$T/nowhere"
refuses "another filesystem's mount" 1 "no Varve mount" "$VARVE" umount /proc
refuses "too many arguments" 2 "too many" "$VARVE" umount "$M" "$M"

# A path with odd characters, and a second mount over an empty one.
B="$T/with a # blank"
ok "a path with a blank" mount_at "$T/store #b" "$B"
refuses "a second mount there" 1 "mounted there already" "$VARVE" mount "$T/store #c" "$B"
not_ok "... makes no store" test -e "$T/store #c"
ok "varve stat finds it" "$VARVE" stat "$B"
refuses "it is named when its store is wanted" 1 "in use.*with a # blank" \
	"$VARVE" check "$T/store #b"
ok "varve umount finds it" "$VARVE" umount "$B"

for signal in TERM INT HUP; do
	"$VARVE" mount "$T/store" "$M"
	echo "$signal" >"$M/$signal"
	pid=$(daemon_of "$M")
	kill -$signal "$pid"
	ok "SIG$signal ends the daemon" wait_gone "$pid"
	not_ok "... unmounts" is_mounted "$M"
	is "... and everything is there" "$("$VARVE" get "$T/store" $signal)" $signal
done

# In use: the mount goes, the daemon ends, and the store is whole.
"$VARVE" mount "$T/store" "$M"
cd "$M" || exit
echo inuse >inuse
pid=$(daemon_of "$M")
kill -TERM "$pid"
ok "SIGTERM ends a daemon in use" wait_gone "$pid"
cd /
not_ok "... unmounts" is_mounted "$M"
is "... and everything is there" "$("$VARVE" get "$T/store" inuse)" inuse

# With -f the exit status of the daemon can be checked.
mkdir -p "$M"
"$VARVE" mount -f "$T/store" "$M" 2>"$T/err" &
pid=$!
for i in $(seq 100); do is_mounted "$M" && break; sleep 0.05; done
echo fg >"$M/fg"
kill -TERM $pid
wait $pid
is "-f exits 0 after SIGTERM" $? 0
is "-f prints only messages" "$(grep -vc '^varve: ' "$T/err")" 0
is "... and everything is there" "$("$VARVE" get "$T/store" fg)" fg

# umount(8) does not wait for the daemon. The next program that opens the store does.
for i in 1 2 3; do
	"$VARVE" mount "$T/store" "$M"
	head -c 3000000 /dev/zero >"$M/zeros$i"
	if [ "$(id -u)" = 0 ]; then umount "$M"; else fusermount3 -u "$M"; fi
done
ok "mount right after umount(8)" "$VARVE" mount "$T/store" "$M"
is "... finds everything" "$(stat -c %s "$M"/zeros?)" "3000000
3000000
3000000"

head -c 3000000 /dev/zero >"$M/zeros4"
if [ "$(id -u)" = 0 ]; then umount "$M"; else fusermount3 -u "$M"; fi
is "any command right after umount(8)" "$("$VARVE" get "$T/store" zeros4 | wc -c)" 3000000
"$VARVE" mount "$T/store" "$M"

# A mount in the background keeps no descriptor of the process that started it.
"$VARVE" umount "$M"
(exec 9>"$T/held"; exec "$VARVE" mount "$T/store" "$M")
pid=$(daemon_of "$M")
is "the daemon keeps no descriptor of its parent's" \
	"$(find "/proc/$pid/fd" -lname "$T/held" 2>/dev/null)" ""
is "nor the terminal" "$(readlink "/proc/$pid/fd/2")" /dev/null
is "nor the directory" "$(readlink "/proc/$pid/cwd")" /
is "its output can be captured" "$(timeout 10 sh -c "'$VARVE' umount '$M'; \
	'$VARVE' mount '$T/store' '$M' 2>&1 | cat")" ""

ok "umount" "$VARVE" umount "$M"
ok "check is clean" "$VARVE" check "$T/store"

done_testing
