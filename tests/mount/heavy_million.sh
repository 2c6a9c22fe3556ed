#!/bin/bash
# MILLION files of 100 bytes: the daemon's memory stays within its budget, and
# find and ls list exactly what was written, before and after a remount.

. "$(dirname "$0")/heavy_lib.sh"

full MILLION 1000000 30000
full MEMORY_MIB 64 64

# Make the files NUMBER in folders of 1000. Each has 100 bytes, with its number.
cat >"$T/files.pl" <<'PERL'
my ($what, $root, $count) = @ARGV;
sub content { my $text = "file $_[0] "; return $text . "." x (99 - length($text)) . "\n"; }
for my $i (0 .. $count - 1) {
	my $dir = sprintf("%s/dir%04d", $root, $i / 1000);
	my $file = sprintf("%s/file%03d", $dir, $i % 1000);
	if ($what eq "write") {
		if ($i % 1000 == 0) { mkdir($dir) or die("mkdir $dir: $!\n"); }
		open(my $out, ">", $file) or die("create $file: $!\n");
		syswrite($out, content($i)) == 100 or die("write $file: $!\n");
		close($out) or die("close $file: $!\n");
	} elsif ($what eq "names") {
		printf("dir%04d/file%03d\n", $i / 1000, $i % 1000);
	} elsif ($what eq "verify") {
		open(my $in, "<", $file) or die("open $file: $!\n");
		sysread($in, my $got, 200);
		$got eq content($i) or die("wrong bytes in $file: $got\n");
	}
}
PERL
files() { perl "$T/files.pl" "$@"; }

# Peak resident memory. It has no meaning under a sanitizer, which needs much more.
memory() { # WHEN
	local peak
	peak=$(awk '$1 == "VmHWM:" { print int($2 / 1024) }' "/proc/$PID/status")
	if [ -n "${SANITIZED:-}" ]; then
		diag "$1: peak of $peak MiB, under a sanitizer"
	else
		diag "$1: peak of $peak MiB"
		holds "$1: peak memory stays below the budget and 64 MiB" "$peak < MEMORY_MIB + 64"
	fi
}

listed() {
	(cd "$MNT" && find . -type f -printf '%P\n' | LC_ALL=C sort | cmp - "$T/names")
}
listed_by_ls() {
	(cd "$MNT" && for d in *; do ls "$d" | sed "s|^|$d/|"; done | cmp - "$T/names")
}
sizes() {
	test "$(find "$MNT" -type f -size 100c | wc -l)" = "$MILLION"
}

files names . "$MILLION" >"$T/names"
mount_store -o "memory=${MEMORY_MIB}M"
ok "writes $MILLION files" files write "$MNT" "$MILLION"
ok 'find lists exactly them' listed
ok 'ls lists exactly them' listed_by_ls
ok 'all have their size' sizes
ok 'all have their bytes' files verify "$MNT" "$MILLION"
memory 'after writing'
ok 'umount' unmount_store

mount_store -o "memory=${MEMORY_MIB}M"
ok 'after a remount, find lists exactly them' listed
ok 'after a remount, ls lists exactly them' listed_by_ls
ok 'after a remount, all have their size' sizes
ok 'after a remount, all have their bytes' files verify "$MNT" "$MILLION"
memory 'after reading'
ok 'rm -rf of all' find "$MNT" -mindepth 1 -delete
ok 'nothing is left' bash -c 'left=$(ls -A "$1") && test -z "$left"' - "$MNT"
memory 'after removing'
ok 'umount again' unmount_store
ok 'check' "$VARVE" check "$STORE"
done_testing
