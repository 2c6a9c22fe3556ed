#!/bin/bash
# The installed library: the example of lsm/README.md is compiled against it as C and as C++,
# in a program with functions whose names the library uses inside. The build folder is $BUILD.

cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
dir=$(mktemp -d "${TMPDIR:-/tmp}/varve-install.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
# shellcheck source=tests/support/tap.sh
. "tests/support/tap.sh"

make() {
	command make --no-print-directory BUILD="$BUILD" DESTDIR="$dir/dest" PREFIX=/usr "$@"
}

# ---- installing ----

touch "$dir/before"
# No command of the build may run: this compiler fails.
ok 'make install takes what the last make built' \
	make install CC=false CFLAGS=-O0 CPPFLAGS=-DOTHER
written=$(find "$BUILD" -path '*/tests/*' -prune -o -newer "$dir/before" -name '*.[oad]' -print)
is '... and writes nothing into the build folder' "$written" ''
is 'what is installed' "$(cd "$dir/dest/usr" && find . -type f | sort)" './bin/varve
./include/lsm.h
./lib/liblsm.a
./lib/pkgconfig/lsm.pc
./share/doc/varve/LICENSE
./share/doc/varve/changelog
./share/man/man1/varve.1'
is 'the global names in the library that do not start with lsm_' \
	"$(nm -g --defined-only "$dir/dest/usr/lib/liblsm.a" | awk 'NF == 3 && $3 !~ /^lsm_/')" ''
declared=$(grep -oE '\blsm_[a-z_]+\(' lsm/lsm.h | tr -d '(' | sort -u)
exported=$(nm -g --defined-only "$dir/dest/usr/lib/liblsm.a" | awk 'NF == 3 { print $3 }' | sort -u)
is 'functions of lsm.h that the library lacks' \
	"$(comm -23 <(grep -vE '_fn$' <<<"$declared") <(echo "$exported"))" ''

version=$(sed -n 's/.*VARVE_VERSION "\(.*\)"/\1/p' mount/version.h)
export PKG_CONFIG_PATH=$dir/dest/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dir/dest
is 'the version of lsm.pc' "$(pkg-config --modversion lsm)" "$version"
written=$(sed -n 's/#define LSM_VERSION_STRING "\(.*\)"/\1/p' "$dir/dest/usr/include/lsm.h")
is 'the version of lsm.h' "$written" "$version"
is 'the version of the program' "$("$dir/dest/usr/bin/varve" --version)" "varve $version"
is 'the version on top of the changelog' \
	"$(sed -n '1s/.*(\(.*\)).*/\1/p' "$dir/dest/usr/share/doc/varve/changelog")" "$version"

# ---- programs that use it ----

sed -n '/^## In another program/,$p' lsm/README.md | sed -n '/^```c$/,/^```$/p' | sed '/^```/d' \
	>"$dir/example.c"
ok 'lsm/README.md has an example' grep -q 'int main' "$dir/example.c"
# The library has functions of these names. The test is that the program links.
cat >"$dir/own.c" <<'END'
#include <lsm.h>

int report(int a);
int recover(int a);
int cache_get(int a);
int wal_open(int a);

int report(int a) { return a; }
int recover(int a) { return a; }
int cache_get(int a) { return a; }
int wal_open(int a) { return a; }
END
cp "$dir/example.c" "$dir/example.cc"
cp "$dir/own.c" "$dir/own.cc"
# A library that was built with a sanitizer needs it in the program as well.
sanitizers=$(grep '^override CFLAGS' "$BUILD/flags" | grep -oE -- '-fsanitize=[a-z,]+')
CC=$(sed -n 's/^override CC := //p' "$BUILD/flags")
case $CC in
*clang*) CXX=clang++ ;;
*) CXX=g++ ;;
esac

# COMPILER STANDARD SUFFIX [FLAG...]
program() {
	local compiler=$1 standard=$2 suffix=$3 flags
	shift 3
	flags="-std=$standard -pedantic -Wall -Wextra -Werror $* $sanitizers"
	rm -rf "${dir:?}/program" "$dir/example.store"
	# shellcheck disable=SC2046,SC2086 # each has several words
	ok "it compiles as $standard" $compiler $flags "$dir/example.$suffix" "$dir/own.$suffix" \
		$(pkg-config --cflags --libs --static lsm) -o "$dir/program"
	is '... and works' "$(cd "$dir" && ./program 2>&1)" blue
}
program "$CC" c99 c
program "$CC" c11 c
# In C++ the warning is also for {0}.
program "$CXX" c++11 cc -Wno-missing-field-initializers
program "$CXX" c++17 cc -Wno-missing-field-initializers

IFS=. read -r major minor patch <<<"$version"
cat >"$dir/alone.c" <<END
#include <lsm.h>
#include <lsm.h>
#if LSM_VERSION_MAJOR != $major || LSM_VERSION_MINOR != $minor || \\
	LSM_VERSION_PATCH != $patch
#error the version in numbers
#endif
int main(void) { return 0; }
END
# shellcheck disable=SC2046
ok 'lsm.h needs no other header, and has its version in numbers' \
	"$CC" -std=c99 -pedantic -Wall -Wextra -Werror -fsyntax-only \
	$(pkg-config --cflags lsm) "$dir/alone.c"

# ---- and away again ----

ok 'make uninstall' make uninstall
is '... leaves no file' "$(find "$dir/dest" ! -type d)" ''
is '... and no folder of its own' "$(find "$dir/dest" -name '*varve*')" ''

done_testing
