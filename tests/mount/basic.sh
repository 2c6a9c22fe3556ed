#!/bin/bash
# basic.sh - ordinary tools on a mount, and everything still there after the next.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

ok "mounts" mount_at "$T/store" "$T/mnt"
M=$T/mnt
src=/usr/include/linux
[ -d $src ] || src=/usr/share/doc
mkdir "$T/src"
cp -a $src "$T/src/tree"
(
	cd "$T/src/tree" || exit
	ln -s ../somewhere link
	ln -s /absolute/target dangling
	touch -d '2001-02-03 04:05:06.123456789 UTC' old
	mkdir -p a/b/c/d empty
	mkfifo fifo
	head -c 3000000 /dev/urandom >random
	head -c 2048 /dev/urandom >inline
	head -c 2049 /dev/urandom >beyond
	: >nothing
	ln inline second-name
	chmod 4711 old
	chmod 1777 empty
)

ok "cp -a" cp -a "$T/src/tree" "$M/"
same() { diff -r --no-dereference -x fifo "$T/src/tree" "$1"; }
listing() { (cd "$1" && find . -printf '%p %y %m %U %G %n %s %l %T@\n' | grep -v '^\. ' |
	sed 's/^\(\S* d \S* \S* \S*\) \S* \S*/\1/' | sort); }
ok "diff -r finds no difference" same "$M/tree"
is "find sees the same names, types, modes, owners, links, sizes and times" \
	"$(listing "$M/tree" | md5sum)" "$(listing "$T/src/tree" | md5sum)"
is "hard links are one file" "$(stat -c %i "$M/tree/inline")" "$(stat -c %i "$M/tree/second-name")"
is "times have nanoseconds" "$(stat -c %y "$M/tree/old" | cut -d' ' -f2)" "04:05:06.123456789"

ok "remounts" sh -c "'$VARVE' umount '$M' && '$VARVE' mount '$T/store' '$M'"
ok "diff -r finds no difference after it" same "$M/tree"
is "nor does find" "$(listing "$M/tree" | md5sum)" "$(listing "$T/src/tree" | md5sum)"

cd "$M" || exit
ok "mv within a directory" mv tree/nothing tree/something
ok "mv over a file" mv tree/something tree/beyond
is "... which is then the other" "$(stat -c %s tree/beyond)" 0
ok "mv to another directory" mv tree/random tree/a/b/c/
ok "mv of a directory" mv tree/a moved
ok "... with all in it" cmp moved/b/c/random "$T/src/tree/random"
not_ok "mv of a directory into itself" mv moved moved/b
mkdir full && touch full/x
not_ok "mv over a directory that is not empty" mv -T moved full
not_ok "rmdir of one" rmdir full
ok "ln" ln moved/b/c/random hard
is "... counts links" "$(stat -c %h hard)" 2
rm moved/b/c/random
ok "a link outlives the first name" cmp hard "$T/src/tree/random"
is "... and counts" "$(stat -c %h hard)" 1
ok "ln -s" ln -s hard soft
ok "a symbolic link leads there" cmp soft hard
is "readlink" "$(readlink soft)" hard
echo one >f
echo two >>f
is ">> appends" "$(cat f)" "one
two"
echo three >f
is "> truncates" "$(cat f)" three
ok "truncate makes longer" truncate -s 10 f
is "... with zeros" "$(od -An -c f | tr -d ' \n')" 'three\n\0\0\0\0'
ok "truncate makes shorter" truncate -s 2 f
is "... at the byte" "$(cat f)" th
ok "chmod" chmod 640 f
is "... is seen" "$(stat -c %a f)" 640
ok "touch -d" touch -d '2010-01-01 00:00:00.5 UTC' f
is "... is seen" "$(stat -c %Y f)" 1262304000
ok "sed -i" sed -i s/th/TH/ f
is "... did it" "$(cat f)" TH
sub() { find "$1" -mindepth 1 -maxdepth 1 -type d | wc -l; }
is "a directory's links are its subdirectories" "$(stat -c %h tree)" "$(($(sub tree) + 2))"
ok "mkdir -p" mkdir -p p/q/r
not_ok "a name below a file" touch f/x
ok "df" df .
ok "sync" sync f
ok "find -delete" find p -delete
ok "rm -rf" rm -rf tree moved full
is "what is left" "$(ls)" "f
hard
soft"
cd /
ok "umount" "$VARVE" umount "$M"
ok "check is clean" "$VARVE" check "$T/store"
ok "mounts again" "$VARVE" mount "$T/store" "$M"
is "what is left after it" "$(ls "$M")" "f
hard
soft"
ok "with its bytes" cmp "$M/hard" "$T/src/tree/random"

done_testing
