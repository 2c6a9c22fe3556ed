#!/bin/bash
# repair.sh - `varve check --repair` on damaged stores: a mount has all data that can be
# read, reading lost data is an error, and a later check finds nothing.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

M=$T/mnt
S=$T/store
mkdir "$M"
"$VARVE" mount "$S" "$M"
mkdir "$M/many" "$M/deep" "$M/deep/er"
for i in $(seq 2000); do
	printf 'file %d\n' "$i" >"$M/many/f$i"
done
head -c 3000000 /dev/urandom >"$T/big"
cp "$T/big" "$M/deep/er/big"
ln "$M/deep/er/big" "$M/link"
refuses "a mounted store" 1 "in use.*$M" "$VARVE" check --repair "$S"
"$VARVE" umount "$M"
"$VARVE" compact "$S"

refuses "no store" 1 "no store" "$VARVE" check --repair "$T/none"
refuses "no such flag elsewhere" 2 "no such option" "$VARVE" stat --repair "$S"
files=$(cd "$S" && ls)
is "a whole store needs none" "$("$VARVE" check --repair "$S")" "clean: nothing to repair"
is "... and is left alone" "$(cd "$S" && ls)" "$files"
cp -a "$S" "$T/whole"

# Invert the byte at $2 eighths of file $1.
flip() {
	local at byte

	at=$(($(stat -c %s "$1") * $2 / 8))
	byte=$(od -An -tu1 -j "$at" -N 1 "$1")
	# shellcheck disable=SC2059
	printf "\\x$(printf %x $((byte ^ 255)))" |
		dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}

largest() { # SUFFIX
	find "$S" -name "*.$1" -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2
}

again() {
	rm -rf "$S"
	cp -a "$T/whole" "$S"
}

# Repair, check, mount. The output of the repair is in $said.
repair() { # WHAT STATUS
	refuses "$1: a check finds it" 1 . "$VARVE" check "$S"
	said=$("$VARVE" check --repair "$S" 2>&1)
	is "$1: repaired" $? "$2"
	ok "$1: then clean" "$VARVE" check "$S"
	is "$1: nothing more to repair" "$("$VARVE" check --repair "$S" 2>&1 | tail -n 1)" \
		"clean: nothing to repair"
	ok "$1: and it mounts" "$VARVE" mount "$S" "$M"
}

# Every file of many/ is whole or gone: "gone WRONG".
count_many() {
	local i gone=0 wrong=0 text

	for i in $(seq 2000); do
		if text=$(cat "$M/many/f$i" 2>/dev/null); then
			[ "$text" = "file $i" ] || wrong=$((wrong + 1))
		else
			gone=$((gone + 1))
		fi
	done
	echo "$gone $wrong"
}

flip "$(largest seg)" 4
repair "a segment" 1
ok "... which file is told" grep -qE "/(link|deep/er/big)" <<<"$said"
not_ok "... and reading it fails" cat "$M/deep/er/big"
dd if="$M/link" of="$T/got" bs=4096 conv=noerror,sync status=none 2>/dev/null
different=$(cmp -l "$T/got" "$T/big" | wc -l)
ok "... but for 4 KiB ($different bytes)" test "$different" -le 4096
is "... the others are whole" "$(count_many)" "0 0"
ok "... it can be written again" cp "$T/big" "$M/deep/er/big"
ok "... and is right" cmp "$T/big" "$M/link"
"$VARVE" umount "$M"
ok "... and is clean" "$VARVE" check "$S"

again
flip "$(largest tab)" 3
repair "a table" 1
read -r gone wrong <<<"$(count_many)"
ok "... costs a few files ($gone)" test "$gone" -gt 0 -a "$gone" -lt 300
is "... and none is wrong" "$wrong" 0
ok "... a new one can be made" touch "$M/many/new"
"$VARVE" umount "$M"
ok "... the old table is kept" ls "$S"/*.tab.old

again
rm "$S/CURRENT"
repair "no CURRENT" 1
is "... all is there" "$(count_many)" "0 0"
ok "... all" cmp "$T/big" "$M/link"
"$VARVE" umount "$M"

again
rm "$S"/*.man
repair "no manifest" 1
is "... all is there" "$(count_many)" "0 0"
ok "... all" cmp "$T/big" "$M/link"
"$VARVE" umount "$M"

again
rm "$S"/*.tab
"$VARVE" check --repair "$S" >/dev/null 2>&1
is "nothing left: refused" $? 1
is "... and left as it was" "$(cd "$S" && ls)" "$(cd "$T/whole" && rm -- *.tab && ls)"
done_testing
