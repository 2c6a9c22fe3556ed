#!/bin/bash
# Run bench_fs on Varve, on the filesystem Varve's store is on, and on libfuse's
# passthrough_ll example over the same, side by side, and print a table.
#
#   bench_fs.sh [-n FILES] [-m BIG_MIB] [-y SYNCED] [-r ROUNDS] [-d FOLDER] [-o OPT,...] [-q]
#
# -d is where all of it happens (default: a folder of its own in TMPDIR or /tmp),
# -o are options for the Varve mount, -q is a quick run of about a minute.
# BUILD is the folder of the build; `make bench-fs BENCH_FS=-q` sets it.

set -u
: "${BUILD:?the folder of the build}"
files=20000 big_mib=512 synced=500 rounds=5 folder=${TMPDIR:-/tmp} options=
while getopts n:m:y:r:d:o:q option; do
	case $option in
	n) files=$OPTARG ;;
	m) big_mib=$OPTARG ;;
	y) synced=$OPTARG ;;
	r) rounds=$OPTARG ;;
	d) folder=$OPTARG ;;
	o) options=$OPTARG ;;
	q) files=5000 big_mib=128 synced=200 rounds=3 ;;
	*) exit 2 ;;
	esac
done

fail() {
	echo "bench_fs: $*" >&2
	exit 1
}

dir=$(mktemp -d "$folder/varve-bench.XXXXXX") || exit 1
mkdir "$dir/plain" "$dir/plain/below" "$dir/mnt" || exit 1
cleanup() {
	cd /
	mountpoint -q "$dir/mnt" && fusermount3 -u "$dir/mnt"
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# The example comes with libfuse's documentation; some images leave that out.
example=/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c
targets='varve plain'
if [ -e $example ] || [ -e $example.gz ]; then
	# shellcheck disable=SC2046 # these are flags
	gzip -cdf $([ -e $example ] && echo $example || echo $example.gz) |
		${CC:-cc} -O2 -w -I"${example%/*}" -x c - -x none \
			-o "$BUILD/passthrough_ll" $(pkg-config --cflags --libs fuse3) ||
		fail 'passthrough_ll does not compile'
	targets='varve plain passthrough'
	# It keeps a descriptor for each file that it has looked up.
	ulimit -n "$(ulimit -Hn)"
	limit=$(ulimit -n)
	if [ "$limit" != unlimited ] && [ "$files" -gt $((limit - 1000)) ]; then
		files=$(((limit - 1000) / 1000 * 1000))
		echo "passthrough_ll can have $limit files open: FILES is $files" >&2
	fi
else
	echo "No $example: going on without passthrough_ll" >&2
fi
[ -w /proc/sys/vm/drop_caches ] || echo 'Not root: nothing is measured cold' >&2

mount_target() { # NAME: print the folder to work in
	case $1 in
	plain) echo "$dir/plain" ;;
	passthrough)
		"$BUILD/passthrough_ll" -o "source=$dir/plain/below,cache=always" "$dir/mnt" \
			2>"$dir/said" >&2 || fail "passthrough_ll: $(cat "$dir/said")"
		echo "$dir/mnt"
		;;
	varve)
		"${VARVE:-$BUILD/varve}" mount ${options:+-o "$options"} "$dir/store" "$dir/mnt" \
			>&2 || fail 'varve does not mount'
		echo "$dir/mnt"
		;;
	esac
}
# Wait until a filesystem is idle before the next one is measured.
unmount_target() {
	case $1 in
	passthrough) fusermount3 -u "$dir/mnt" ;;
	varve) "${VARVE:-$BUILD/varve}" umount "$dir/mnt" ;;
	esac
	sync
}

for ((round = 1; round <= rounds; round++)); do
	# Each round begins with another, so that none is always the first.
	# shellcheck disable=SC2086 # a list
	for target in $targets; do
		echo "round $round of $rounds: $target" >&2
		work=$(mount_target "$target")/work
		mkdir "$work" || fail "no folder on $target"
		"$BUILD/tests/bench/bench_fs" "$work" "$files" "$big_mib" "$synced" >"$dir/out" ||
			fail "$target failed"
		rmdir "$work" || fail "$target keeps its folder"
		sed "s/^/$target\t/" "$dir/out" >>"$dir/results"
		unmount_target "$target" || fail "$target does not unmount"
	done
	targets="${targets#* } ${targets%% *}"
done

below=$(findmnt -no FSTYPE -T "$dir")
echo
echo "$(date +%F), Linux $(uname -r | cut -d- -f1), $(nproc) CPUs, over $below," \
	"libfuse $(pkg-config --modversion fuse3)."
echo "$files files of 1 KiB, $big_mib MiB, $synced synced files;" \
	"medians of $rounds interleaved rounds; ratios above 1: Varve is faster."
echo
awk -F '\t' -v below="$below" '
	function median(key, i, j, t, n, v) {
		n = split(values[key], v, " ")
		for (i = 2; i <= n; i++)
			for (j = i; j > 1 && v[j] + 0 < v[j - 1] + 0; j--) {
				t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
			}
		return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
	}
	!($2 in unit) { names[++count] = $2; unit[$2] = $4 }
	{ values[$1, $2] = values[$1, $2] " " $3; there[$1] = 1 }
	END {
		others = there["passthrough"] ? "plain passthrough" : "plain"
		m = split(others, other, " ")
		line = "| operation | unit | Varve"; rule = "| --- | --- | ---:"
		for (o = 1; o <= m; o++) {
			title = other[o] == "plain" ? below : "passthrough_ll"
			line = line " | " title " | Varve/" title; rule = rule " | ---: | ---:"
		}
		print line " |"; print rule " |"
		for (i = 1; i <= count; i++) {
			mine = median("varve" SUBSEP names[i])
			line = sprintf("| %s | %s | %.0f", names[i], unit[names[i]], mine)
			for (o = 1; o <= m; o++) {
				theirs = median(other[o] SUBSEP names[i])
				line = line sprintf(" | %.0f | %.2f", theirs, mine / theirs)
			}
			print line " |"
		}
	}' "$dir/results"
