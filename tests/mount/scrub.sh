#!/bin/bash
# scrub.sh - `varve scrub` of a mounted store: its findings and messages, permissions, its end.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

store=$T/store
mnt=$T/mnt

fill() {
	mkdir "$mnt/dir" || return
	for i in $(seq 300); do
		echo "$i" >"$mnt/dir/f$i" || return
	done
	head -c 20M /dev/urandom >"$mnt/big" || return
	"$VARVE" compact "$mnt"
}

# flip SUFFIX: change a byte in the middle of the largest file of that kind in the store.
flip() {
	local size file byte

	read -r size file < <(find "$store" -name "*$1" -printf '%s %p\n' | sort -rn)
	byte=$(od -An -tu1 -j $((size / 2)) -N1 "$file")
	printf "\\x$(printf %x $((byte ^ 64)))" |
		dd of="$file" bs=1 seek=$((size / 2)) conv=notrunc status=none
}

ok "mount" mount_at "$store" "$mnt"
ok "fill" fill
out=$("$VARVE" scrub "$mnt" 2>&1)
is "a whole store is clean: exit status" $? 0
is "... and it prints the counts" "$(sed 's/[0-9]* bytes/N bytes/' <<<"$out")" \
	"301 files, 2 directories, 0 links, 0 others, N bytes, 0 orphans; clean"
ok "the store's name does as well, without a limit" "$VARVE" scrub --rate=0 "$store"
ok "no attribute is left behind" test -z "$(getfattr -d -m - "$mnt" 2>&1)"

refuses "an option there is not" 2 "no such option" "$VARVE" scrub --fast "$mnt"
refuses "a rate that is none" 2 "not a number" "$VARVE" scrub --rate=much "$mnt"
refuses "no argument" 2 "too few" "$VARVE" scrub

# Two at once: the second is refused.
"$VARVE" scrub --rate=1 "$mnt" >"$T/first" 2>&1 &
first=$!
sleep 1
refuses "a second one is refused" 1 "a scrub is running already" "$VARVE" scrub "$mnt"
is "the mount answers meanwhile" "$(cat "$mnt/dir/f7")" 7
kill -TERM $first
ok "interrupted, the command ends" wait_gone $first
wait $first
is "... with status 1" $? 1
ok "... and says that it stopped" grep -q "stopped before its end" "$T/first"
ok "... and so did the scrub: another may begin" "$VARVE" scrub "$mnt"

# Unmounting does not wait for it.
"$VARVE" scrub --rate=1 "$mnt" >"$T/first" 2>&1 &
first=$!
sleep 1
ok "unmount while scrubbing" "$VARVE" umount "$mnt"
ok "... ends the command" wait_gone $first
wait $first
is "... with status 1" $? 1
ok "... which says why" grep -q "unmounted during the scrub" "$T/first"
out=$("$VARVE" scrub "$store" 2>&1)
is "a store that is not mounted is checked: exit status" $? 0
ok "... clean" grep -q "clean$" <<<"$out"

ok "mount read-only" mount_at "$store" "$mnt" -o ro
ok "a read-only mount can be scrubbed" "$VARVE" scrub "$mnt"
ok "unmount" "$VARVE" umount "$mnt"

# Damage to the store of a mount whose data is all cached.
ok "mount again" mount_at "$store" "$mnt"
ok "read everything" diff -r "$mnt/dir" "$mnt/dir"
ok "... and the big file" cmp "$mnt/big" "$mnt/big"
flip .seg
out=$("$VARVE" scrub "$mnt" 2>"$T/errors")
is "a flipped byte of a segment: exit status" $? 1
ok "... names the file" grep -q "\.seg at offset .*lost: /big, content from byte" <<<"$out"
ok "... and counts one" grep -q "; 1 findings$" <<<"$out"
is "... and reading it, past the kernel's cache, is an I/O error" \
	"$(dd if="$mnt/big" of=/dev/null bs=1M iflag=direct 2>&1 | grep -c 'Input/output error')" 1
ok "... and a message says what to do" grep -q "^varve: .*damaged;" "$T/errors"
flip .tab
out=$("$VARVE" scrub "$mnt" 2>/dev/null)
is "a flipped byte of a table: exit status" $? 1
ok "... names the range at risk" grep -q "\.tab at offset .*lost: something between /" <<<"$out"

# More findings than the daemon keeps at a time: each is reported once.
ok "unmount" "$VARVE" umount "$mnt"
rm -rf --one-file-system "$store"
ok "mount a new one" mount_at "$store" "$mnt"
name=$(printf '%0200d' 0)
for i in $(seq 300); do
	head -c 5000 /dev/zero >"$mnt/$name$i"
done
ok "compact" "$VARVE" compact "$mnt"
for seg in "$store"/*.seg; do
	dd if=/dev/urandom of="$seg" bs=1M count="$(($(stat -c %s "$seg") / 1048576 + 1))" \
		conv=notrunc status=none
done
"$VARVE" scrub "$mnt" >"$T/findings" 2>/dev/null
is "300 damaged files: exit status" $? 1
is "... each is named" "$(grep -c "lost: /${name}[0-9]*, content" "$T/findings")" 300
is "... and none twice" "$(sort "$T/findings" | uniq -d | wc -l)" 0
ok "... which is more than the daemon keeps" test "$(stat -c %s "$T/findings")" -gt 65536
"$VARVE" scrub "$mnt" 2>/dev/null | head -n 1 >/dev/null
not_ok "one whose reader went away is over: another may begin" "$VARVE" scrub "$mnt"
ok "unmount" "$VARVE" umount "$mnt"

if [ "$(id -u)" = 0 ]; then
	user_setup
	ok "mount for all" mount_at "$T/other" "$mnt" -o allow_other
	refuses "a stranger may not scrub" 1 "not your mount" as_user "$USER_VARVE" scrub "$mnt"
	ok "unmount" "$VARVE" umount "$mnt"
fi
done_testing
