#!/bin/bash
# started.sh - how the program is started: which files are open, which limits it has, and what
# it is called with.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

S=$T/store
M=$T/mnt
mkdir "$M"

# Descriptors 0 to 2 are closed: the store's own files must not get these numbers, or
# messages are written into the log.
("$VARVE" mount "$S" "$M" <&- >&- 2>&-)
is "mounts with descriptors 0 to 2 closed" $? 0
pid=$(daemon_of "$M")
is "... the daemon has them open, on /dev/null" \
	"$(readlink "/proc/$pid/fd/0" "/proc/$pid/fd/1" "/proc/$pid/fd/2" | sort -u)" /dev/null
is "... and the store's folder by another one" "$(readlink "/proc/$pid/fd/"* | grep -cxF "$S")" 1
echo kept >"$M/file"
ok "... unmounts" "$VARVE" umount "$M"
ok "... the store is whole" "$VARVE" check "$S"
"$VARVE" mount -f "$S" "$M" <&- >&- 2>&- &
pid=$!
for _ in $(seq 100); do
	is_mounted "$M" && break
	sleep 0.1
done
echo more >"$M/more"
sync "$M/more"
# It has said where it is mounted. A clean end would write a new log: kill it.
kill -9 "$pid"
wait "$pid" 2>/dev/null
ok "in the foreground, and killed: mounts again" "$VARVE" mount "$S" "$M"
is "... and has the files" "$(cat "$M/file" "$M/more" | tr '\n' ' ')" "kept more "
ok "... unmounts" "$VARVE" umount "$M"
out=$("$VARVE" put "$S" closed <&- 2>&1)
is "a closed stdin is an error: put" $? 1
ok "... that is said" grep -q "stdin" <<<"$out"
"$VARVE" ls "$S" >&- 2>/dev/null
is "a closed stdout is an error: ls" $? 1
"$VARVE" ls "$S/none" 2>&-
is "a closed stderr is none" $? 1

# A limit on the size of files may make writes fail, but it may not end the daemon.
ok "mounts with a limit on the size of files" \
	bash -c "ulimit -f 4096; exec '$VARVE' mount -o memory=16M '$T/limited' '$M'"
written=0
for i in $(seq 12); do
	head -c 2M /dev/urandom >"$T/2M"
	cp "$T/2M" "$M/f$i" 2>/dev/null && sync "$M/f$i" 2>/dev/null || break
	cp "$T/2M" "$T/f$i"
	written=$i
done
ok "... the daemon answers after $written files" ls "$M"
ok "... and unmounts" "$VARVE" umount "$M"
ok "... the store mounts without the limit" "$VARVE" mount "$T/limited" "$M"
wrong=
for i in $(seq "$written"); do
	cmp -s "$T/f$i" "$M/f$i" || wrong="$wrong f$i"
done
is "... and has what was written" "$wrong" ""
ok "... unmounts" "$VARVE" umount "$M"

# Without a subcommand's name it is mount(8) that calls: a word is a mistyped subcommand.
cd "$T" || exit
refuses "a mistyped subcommand" 2 "unmount: no such command, perhaps meant as umount;" \
	"$VARVE" unmount mnt
refuses "... with a name like no other" 2 "xyz: no such command; see .varve --help., or .*\./xyz" \
	"$VARVE" xyz mnt
refuses "... alone" 2 "lss: no such command, perhaps meant as ls;" "$VARVE" lss
refuses "... in front of options" 2 "mont: no such command, perhaps meant as mount;" \
	"$VARVE" mont store mnt -o ro
not_ok "... makes no store" test -e unmount
not_ok "... and mounts nothing" is_mounted "$M"
ok "a store in this folder is written with a slash" "$VARVE" ./store mnt -o ro
ok "... and unmounted" "$VARVE" umount mnt

# Names that a terminal would obey: no output of any command has their control characters, and
# no line of it is part of a name. (033 and 233 begin a sequence; 302 233 is 233 in UTF-8.)
name=$(printf 'evil\033]0;OWNED\007\n0 findings \302\233 2J \233 2J')
ok "mounts" "$VARVE" mount "$T/evil" "$M"
head -c 300000 /dev/urandom >"$M/$name"
ok "unmounts" "$VARVE" umount "$M"
segment=$(find "$T/evil" -name '*.seg' | head -n 1)
printf 'damaged' | dd of="$segment" bs=1 seek=150000 conv=notrunc status=none
{
	"$VARVE" check "$T/evil"
	"$VARVE" ls "$T/evil"
	"$VARVE" scan "$T/evil"
	"$VARVE" get "$T/evil" "$name/below"
	"$VARVE" mount "$T/evil" "$M"
	"$VARVE" scrub --rate=0 "$M"
	"$VARVE" umount "$M"
	"$VARVE" mount -o "debug=$name" "$T/evil" "$M"
	"$VARVE" "$name" "$M"
} >"$T/output" 2>&1
ok "the name was printed" grep -aq "evil.*OWNED" "$T/output"
ok "... by the scrub, too" test "$(grep -ac "damaged.*evil" "$T/output")" -ge 2
not_ok "no control characters are printed" grep -aqP '[\x01-\x08\x0b-\x1f\x7f]' "$T/output"
not_ok "... nor those of eight bits" grep -aqP '\x9b' "$T/output"
not_ok "no line is part of a name" grep -aq '^0 findings' "$T/output"

# Too few threads or too little memory: the mount works, or the command says that it does not.
honest=
tried=0
try() { # LIMIT PROGRAM STORE MOUNTPOINT: by $as
	local out status

	out=$($as bash -c "ulimit $1; exec '$2' mount -o memory=16M '$3' '$4'" 2>&1)
	status=$?
	tried=$((tried + 1))
	if [ $status = 0 ]; then
		if ! is_mounted "$4"; then
			honest="$honest $1: status 0, but not mounted;"
		else
			$as timeout 20 touch "$4/file" || honest="$honest $1: not usable;"
			$as timeout 20 "$2" umount "$4" || honest="$honest $1: does not unmount;"
		fi
	elif is_mounted "$4"; then
		honest="$honest $1: status $status, but mounted;"
		umount -l "$4"
	elif [ -z "$out" ]; then
		honest="$honest $1: status $status without a word;"
	fi
}
as=
for kib in $(seq 60000 8192 240000); do
	try "-v $kib" "$VARVE" "$T/small" "$M"
done
is "with little memory: $tried limits, the exit status says what is there" "$honest" ""
honest=
tried=0
user_setup
as=as_user
as_user mkdir "$U/mnt"
for n in $(seq 2 14); do
	try "-u $n" "$USER_VARVE" "$U/store" "$U/mnt"
done
is "with few processes: $tried limits, the exit status says what is there" "$honest" ""

done_testing
