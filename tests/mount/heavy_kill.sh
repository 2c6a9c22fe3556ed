#!/bin/bash
# A tree of KILL_FILES files is copied onto the mount. Meanwhile the daemon is killed
# KILL_ROUNDS times, at random moments, and the store is checked and mounted again.
# The files of every cp that had returned have to be complete, with their attributes.
#
# The tree is copied in units, each by one `cp -a`, in turn a folder of 20 files
# and a file alone. A log, outside the mount, names the units whose cp returned
# success. The others are removed and copied again. KILL_SEED repeats the choice of
# moments, but not the timing of the machine.

. "$(dirname "$0")/heavy_lib.sh"

full KILL_FILES 21200 2000
full KILL_ROUNDS 20 4
: "${KILL_SEED:=$((RANDOM * 32768 + RANDOM))}"
RANDOM=$((KILL_SEED % 32768))
SOURCE=$T/source
LOG=$T/returned
diag "KILL_SEED=$KILL_SEED"

# Sizes from empty to some hundred KiB, most of them small; modes, times,
# symbolic and hard links.
mkdir "$SOURCE"
perl -e '
	my ($root, $count, $seed) = @ARGV;
	srand($seed);
	my $noise = join("", map { chr(rand(256)) } 1 .. 400000);
	sub make {
		my ($path) = @_;
		my $size = (0, 10, 100, 1000, 2040, 2060, 5000, 20000, 140000, 300000)[
			rand() < 0.9 ? rand(8) : rand(10)];
		open(my $out, ">", $path) or die("$path: $!\n");
		print $out substr($noise, rand(100000), $size);
		close($out) or die("$path: $!\n");
		chmod(rand() < 0.5 ? 0644 : 0750, $path);
		my $time = 1500000000 + int(rand(1e8));
		utime($time, $time, $path);
	}
	for (my $i = 0; $i < $count; ) {
		my $unit = sprintf("%s/u%05d", $root, $i);
		if ($i % 21 == 20) {
			make($unit);
			$i++;
			next;
		}
		mkdir($unit);
		make(sprintf("%s/f%02d", $unit, $_)) for 1 .. 18;
		symlink("f01", "$unit/symlink");
		link("$unit/f02", "$unit/hardlink");
		$i += 20;
	}' "$SOURCE" "$KILL_FILES" "$KILL_SEED" || bail 'no source'
mapfile -t units < <(ls "$SOURCE")
diag "$(find "$SOURCE" -type f | wc -l) files in ${#units[@]} units," \
	"$(du -sm "$SOURCE" | cut -f 1) MiB"

# Copy the units, beginning with the first that has not returned. Stops at the first cp
# that fails, which means that the daemon is gone.
copy() {
	local unit
	for unit in "${units[@]:$(wc -l <"$LOG")}"; do
		rm -rf "${MNT:?}/$unit" || return 1
		cp -a "$SOURCE/$unit" "$MNT/$unit" || return 1
		echo "$unit" >>"$LOG"
	done
}

# FROM: compare the units of the log with the source, beginning with number FROM.
whole() {
	local unit status=0
	while read -r unit; do
		if ! diff -r --no-dereference "$SOURCE/$unit" "$MNT/$unit" ||
			! diff <(attributes "$SOURCE/$unit") <(attributes "$MNT/$unit"); then
			echo "$unit differs from its source"
			status=1
		fi
	done < <(tail -n "+$1" "$LOG")
	return $status
}
attributes() { # of a unit and all in it: type, mode, owner, links, mtime, target
	find "$1" \( -type d -printf '%P %y %m %U %G %T@\n' \) -o \
		-printf '%P %y %m %U %G %n %T@ %l\n' | LC_ALL=C sort
}

# The kills are spread over the copy by counting units, not seconds. The moment within a
# unit is random.
: >"$LOG"
mapfile -t moments < <(
	for ((i = 0; i < KILL_ROUNDS; i++)); do
		echo $(((RANDOM * 32768 + RANDOM) % (${#units[@]} - 1)))
	done | sort -n
)
mount_store
for moment in "${moments[@]}"; do
	done_before=$(wc -l <"$LOG")
	copy 2>"$T/copy.err" &
	copier=$!
	while [ "$(wc -l <"$LOG")" -lt "$moment" ] && kill -0 $copier 2>/dev/null; do
		sleep 0.002
	done
	sleep "0.0$((RANDOM % 30 + 10))"
	kill -9 "$PID"
	wait_gone "$PID" || bail 'the daemon outlives kill -9'
	wait $copier
	returned=$(wc -l <"$LOG")
	ok "killed after $returned units: check" "$VARVE" check "$STORE"
	mount_store
	ok "killed after $returned units: those of this round are whole" whole $((done_before + 1))
done
ok 'the rest is copied' copy
ok 'all that was ever copied is whole' whole 1
ok 'the trees are the same' diff -r --no-dereference "$SOURCE" "$MNT"
ok 'umount' unmount_store
ok 'check' "$VARVE" check "$STORE"
mount_store
ok 'the same after a remount' diff -r --no-dereference "$SOURCE" "$MNT"
ok 'umount again' unmount_store
done_testing
