#!/bin/bash
# tools.sh - the store without a mount: ls, get, put, rm, scan, check, stat, compact.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

S=$T/store
M=$T/mnt
head -c 3000000 /dev/urandom >"$T/random"

ok "put makes a store" sh -c "echo hello | '$VARVE' put '$S' greeting"
is "get" "$("$VARVE" get "$S" greeting)" hello
is "... with slashes" "$("$VARVE" get "$S" //./greeting)" hello
ok "put of a large file by name" "$VARVE" put "$S" large "$T/random"
ok "... get" sh -c "'$VARVE' get '$S' large | cmp - '$T/random'"
ok "put from a slow pipe" sh -c "(head -c 100 '$T/random'; sleep 0.2; tail -c +101 '$T/random') |
	'$VARVE' put '$S' piped -"
ok "... get" sh -c "'$VARVE' get '$S' piped | cmp - '$T/random'"
ok "put replaces" sh -c "echo bye | '$VARVE' put '$S' greeting"
is "... it" "$("$VARVE" get "$S" greeting)" bye
ok "an empty file" "$VARVE" put "$S" empty /dev/null
is "... is empty" "$("$VARVE" get "$S" empty | wc -c)" 0
refuses "put into no directory" 1 "No such file" "$VARVE" put "$S" none/x /dev/null
refuses "put below a file" 1 "Not a directory|no.*directory" "$VARVE" put "$S" empty/x /dev/null
refuses "put over the root" 1 "below the root" "$VARVE" put "$S" / /dev/null
refuses "put of no file" 1 "No such file" "$VARVE" put "$S" x "$T/none"
not_ok "get of no file" "$VARVE" get "$S" none
not_ok "get of the root" "$VARVE" get "$S" /
not_ok "..: is refused" "$VARVE" get "$S" ../greeting
not_ok "a name of 256 bytes" "$VARVE" get "$S" "$(printf 'n%.0s' $(seq 256))"
ok "get into a closed pipe ends" timeout 10 sh -c "'$VARVE' get '$S' large | head -c 10"
not_ok "get into a full device fails" sh -c "'$VARVE' get '$S' large >/dev/full"

ok "mount" mount_at "$S" "$M"
is "a file that was put is there" "$(cat "$M/greeting")" bye
chmod 751 "$M/greeting"
mkdir -p "$M/dir/sub" "$M/other"
echo inner >"$M/dir/sub/inner"
ln -s target "$M/dir/link"
mkfifo "$M/dir/pipe"
odd=$(printf 'odd\nname\\')
: >"$M/dir/$odd"
for i in $(seq 1500); do : >"$M/other/$i"; done
mkdir -p "$M/other/a/b/c" && : >"$M/other/a/b/c/d"
find "$M" -mindepth 1 -not -name 'odd*' -printf '%P\n' | sort >"$T/list"

is "stat of a mount" "$("$VARVE" stat "$M" | grep -c "process $(daemon_of "$M")")" 1
ok "compact of a mount" "$VARVE" compact "$M"
ok "... leaves the files alone" cmp "$M/large" "$T/random"
if command -v setfattr >/dev/null; then
	is "the daemon's attributes are in no list" "$(getfattr -d "$M" 2>&1)" ""
	not_ok "... and cannot be removed" setfattr -x user.varve.pid "$M"
else
	skip "the daemon's attributes" "no setfattr (package attr)"
fi
ok "umount" "$VARVE" umount "$M"

is "ls" "$("$VARVE" ls "$S" dir | sed 's/^\(.\).*[0-9][0-9]:[0-9][0-9] /\1 /' | sort)" \
	"- odd\\nname\\\\
d sub
l link -> target
p pipe"
is "ls of a file" "$("$VARVE" ls "$S" greeting | cut -c1-10)" "-rwxr-x--x"
is "put keeps the mode" "$(echo x | "$VARVE" put "$S" greeting
	"$VARVE" ls "$S" greeting | cut -c1-10)" "-rwxr-x--x"
is "ls of everything" "$("$VARVE" ls "$S" | wc -l)" 6
is "scan prints what find does" "$("$VARVE" scan "$S" | cut -c16- | grep -v 'odd' | sort | diff - \
	"$T/list")" ""
is "scan of a part" "$("$VARVE" scan "$S" /dir/sub/)" "-            6 dir/sub/inner"
is "scan of a file" "$("$VARVE" scan "$S" empty)" "-            0 empty"
ok "scan into a closed pipe ends" timeout 10 sh -c "'$VARVE' scan '$S' | head -n 1"

ok "rm" "$VARVE" rm "$S" piped
not_ok "... did it" "$VARVE" get "$S" piped
not_ok "rm of nothing" "$VARVE" rm "$S" piped
not_ok "rm of a directory" "$VARVE" rm "$S" other
ok "rm -r" "$VARVE" rm -r "$S" other
is "... did it" "$("$VARVE" scan "$S" | grep -c other)" 0
not_ok "rm -r of the root" "$VARVE" rm -r "$S" /
ok "rm -r of a file" "$VARVE" rm -r "$S" empty
ok "compact" "$VARVE" compact "$S"
ok "... leaves the files alone" sh -c "'$VARVE' get '$S' large | cmp - '$T/random'"
ok "check" "$VARVE" check "$S"
is "... counts" \
	"$("$VARVE" check "$S" | grep -c "^4 files, 3 directories, 1 links, 1 others.*clean")" 1

(sleep 1; echo late) | "$VARVE" put "$S" late &
sleep 0.3
is "a command waits for another that writes" "$("$VARVE" get "$S" late)" late
wait $!

ok "stat" "$VARVE" stat "$S"
"$VARVE" stat --json "$S" >"$T/json"
if command -v python3 >/dev/null; then
	ok "stat --json is JSON" python3 -m json.tool "$T/json"
else
	is "stat --json is JSON" "$(head -c 1 "$T/json"; tail -n 1 "$T/json")" "{}"
fi
for key in files disk_bytes segment_bytes segment_live_bytes levels sequence_synced; do
	ok "... with $key" grep -q "\"$key\": " "$T/json"
done
is "... of each level" "$(grep -c '"level": [0-6]' "$T/json")" 7

done_testing
