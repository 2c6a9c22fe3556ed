#!/bin/bash
# names.sh - names and paths at their limits, and directories that change while read.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

ok "mounts" mount_at "$T/store" "$T/mnt"
cd "$T/mnt" || exit
n255=$(printf 'n%.0s' $(seq 255))

ok "a name of 255 bytes" touch "$n255"
is "... is listed" "$(ls)" "$n255"
out=$(touch "${n255}x" 2>&1)
is "one of 256 is too long" "$?:${out##*: }" "1:File name too long"
out=$(stat "${n255}x" 2>&1)
is "... to look up" "$?:${out##*: }" "1:File name too long"
out=$(mv "$n255" "${n255}x" 2>&1)
is "... to rename to" "$?:${out##*: }" "1:File name too long"
rm "$n255"

# Every byte but NUL and slash, alone and with a neighbour.
mkdir bytes
bad=
for i in $(seq 1 255); do
	[ "$i" = 47 ] && continue
	hex=$(printf '\\x%02x' "$i")
	name=$(printf "x${hex}y.")
	: >"bytes/${name}" || bad="$bad $i"
done
is "names with every byte" "$bad" ""
is "... are all listed" "$(cd bytes && printf '%s\0' * | tr -dc '\0' | wc -c)" 254
sum=$(cd bytes && find . -print0 | sort -z | md5sum)

# A path of 4095 bytes and its NUL is the system's limit.
d=$(printf 'd%.0s' $(seq 200))
depth=0
while [ $depth -lt 25 ]; do
	mkdir "$d" && cd "$d" || break
	depth=$((depth + 1))
done
is "directories deeper than any path" $depth 25
echo deep >bottom
cd "$T/mnt" || exit
path=$d
while [ $((${#path} + 201)) -lt 4090 ]; do path=$path/$d; done
rest=$((4095 - ${#path} - 1))
if [ $rest -gt 0 ]; then
	last=$(printf 'e%.0s' $(seq $rest))
	ok "a path of 4095 bytes" touch "$path/$last"
	out=$(touch "$path/${last}e" 2>&1)
	is "one of 4096 is too long" "$?:${out##*: }" "1:File name too long"
fi
target=$(printf 't%.0s' $(seq 4095))
ok "a symbolic link of 4095 bytes" ln -s "$target" long
is "... is whole" "$(readlink long)" "$target"

mkdir many
(cd many && seq 3000 | xargs touch)
is "3000 entries" "$(ls many | wc -l)" 3000
# Remove names while reading: no name may be missed.
(cd many && find . -type f -name '*[13579]' -delete)
is "every other one removed while reading" "$(ls many | wc -l)" 1500
ls many >"$T/list"
is "none is listed twice" "$(sort -u "$T/list" | wc -l)" 1500
touch many/new
listed() { find many -name "$1" | wc -l; }
is "a new one is listed at once" "$(listed new)" 1
rm many/new
is "one removed is not" "$(listed new)" 0
mv many/2 many/two
is "one renamed is listed under its new name" "$(listed two)" 1
is "... only" "$(listed 2)" 0

(
	cd many || exit
	for i in $(seq 300); do
		: >"w$i"
		mv "w$i" "v$i"
		rm "v$i"
	done
) &
ok_count=0
for i in $(seq 20); do
	[ "$(find many -name '[0-9t]*' | sort -u | wc -l)" = 1500 ] && ok_count=$((ok_count + 1))
done
wait $!
is "others come and go beside: those that stay are all seen" $ok_count 20

# The kernel caches its first listing. That once had the names of the moment of the open.
is "a name made between opening and reading stays" "$(python3 -c '
import os
first = os.scandir("many")
open("many/between", "w").close()
print("between" in [e.name for e in first], "between" in os.listdir("many"))')" "True True"

cd /
ok "remounts" sh -c "'$VARVE' umount '$T/mnt' && '$VARVE' mount '$T/store' '$T/mnt'"
is "odd names are the same after it" \
	"$(cd "$T/mnt/bytes" && find . -print0 | sort -z | md5sum)" "$sum"
cd "$T/mnt" || exit
for i in $(seq 25); do cd "$d" || break; done
is "so is the bottom" "$(cat bottom)" deep
cd "$T/mnt" || exit
ok "rm -rf of it all" rm -rf bytes many "$d"
cd /
ok "umount" "$VARVE" umount "$T/mnt"
ok "check is clean" "$VARVE" check "$T/store"

done_testing
