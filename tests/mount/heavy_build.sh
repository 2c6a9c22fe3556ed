#!/bin/bash
# A C project configured, built with make -j2 and tested on the mount: BUILD_FILES
# sources, a static and a shared library, generated headers, programs run from the
# mount. Then make has to find out, by the times, what is out of date. The full form
# builds Varve's own tree there as well.

. "$(dirname "$0")/heavy_lib.sh"

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
full BUILD_FILES 1000 60

# The project: parts that each know a number, a program that adds them up.
project() {
	mkdir -p src include tests
	cat >configure <<'SH'
#!/bin/sh
# The checks compile and run programs, as those of real projects do.
set -e
mkdir -p conf.dir && cd conf.dir
say() { echo "$1" >>config.h; }
: >config.h
for header in stdio.h stdint.h dlfcn.h no_such_header.h; do
	name=HAVE_$(echo "$header" | tr 'a-z.' 'A-Z_')
	echo "#include <$header>" >conftest.c
	if ${CC:-cc} -c conftest.c -o conftest.o 2>/dev/null; then say "#define $name 1"; fi
	rm -f conftest.c conftest.o
done
cat >conftest.c <<'C'
#include <stdio.h>
int main(void) { return printf("%zu\n", sizeof(long)) < 0; }
C
${CC:-cc} conftest.c -o conftest
say "#define LONG_BYTES $(./conftest)"
rm -f conftest conftest.c
cd ..
if cmp -s conf.dir/config.h include/config.h; then :; else mv conf.dir/config.h include/config.h; fi
rm -rf conf.dir
sed "s|@CC@|${CC:-cc}|" Makefile.in >Makefile
echo configured
SH
	chmod +x configure
	cat >Makefile.in <<'MAKE'
CC = @CC@
PARTS = $(patsubst src/%.c,obj/%.o,$(wildcard src/part*.c))
all: sum libparts.so
obj/%.o: src/%.c
	@mkdir -p obj
	@$(CC) -O1 -fPIC -Iinclude -MMD -c -o $@ $< && echo compiled $@ >>log
libparts.a: $(PARTS)
	@rm -f $@; ar rcs $@ $^
libparts.so: $(PARTS)
	@$(CC) -shared -o $@ $^
sum: obj/main.o libparts.a
	@$(CC) -o $@ $^
check: all
	@for t in tests/*.sh; do sh $$t || exit 1; done
clean:
	@rm -rf obj sum libparts.a libparts.so
-include $(wildcard obj/*.d)
MAKE
	local i calls='' declared=''
	for ((i = 1; i <= BUILD_FILES; i++)); do
		printf '#include "parts.h"\nint part%d(int x)\n{\n\treturn x + %d;\n}\n' $i $i \
			>src/part$i.c
		declared+="int part$i(int x);"$'\n'
		calls+="	x = part$i(x);"$'\n'
	done
	printf '#include "config.h"\n%s' "$declared" >include/parts.h
	printf '#include <stdio.h>\n#include "parts.h"\nint main(void)\n{\n\tint x = 0;\n%s%s}\n' \
		"$calls" $'\tprintf("%d %d\\n", x, LONG_BYTES);\n\treturn 0;\n' >src/main.c
	echo "SUM=$((BUILD_FILES * (BUILD_FILES + 1) / 2))" >tests/sum.sh
	echo 'test "$(./sum)" = "$SUM $(($(getconf LONG_BIT) / 8))"' >>tests/sum.sh
	echo 'nm -D libparts.so | grep -c " T part" | grep -qx '"$BUILD_FILES" >tests/shared.sh
}

compiled() { # how many files the last make compiled
	local n
	n=$(wc -l <log)
	: >log
	echo "$n"
}

mount_store
mkdir "$MNT/project"
cd "$MNT/project" || bail 'no project'
ok 'the project is written' project
ok './configure' ./configure
ok 'its findings' grep -q 'HAVE_DLFCN_H' include/config.h
ok 'and what is not there' bash -c '! grep -q NO_SUCH include/config.h'
ok 'make -j2' make -j2
is 'each file is compiled once' "$(compiled)" $((BUILD_FILES + 1))
ok 'make check' make check
ok 'make again' make -j2
is 'has nothing to do' "$(compiled)" 0
touch src/part7.c
ok 'make after a touch' make -j2
is 'compiles that file alone' "$(compiled)" 1
ok 'configure again' ./configure
ok 'make after it' make -j2
is 'has nothing to do, as the header is the same' "$(compiled)" 0
echo '/* more */' >>include/parts.h
ok 'make after a change of the header' make -j2
is 'compiles all' "$(compiled)" $((BUILD_FILES + 1))
ok 'install with modes' install -D -m 755 sum out/bin/sum
ok 'an archive of all' tar -cf "$T/project.tar" --exclude=./log . # compiled() changes it
cd /
ok 'umount' unmount_store

mount_store
cd "$MNT/project" || bail 'no project'
# This comes first: counting the compiled files empties the log, which changes its time.
ok 'the archive has what is there' tar -df "$T/project.tar"
ok 'make after a remount' make -j2
is 'has nothing to do' "$(compiled)" 0
ok 'make check after a remount' make check
ok 'make clean' make clean
ok 'objects are gone' test ! -e obj

if [ "${HEAVY:-}" = full ]; then
	mkdir "$MNT/varve"
	ok 'Varve is copied' cp -a "$ROOT/Makefile" "$ROOT/lsm" "$ROOT/fs" "$ROOT/mount" \
		"$ROOT/tests" "$MNT/varve/"
	cd "$MNT/varve" || bail 'no copy'
	# The flags of this run are not passed on, so that a sanitized run stays short.
	unset CFLAGS WERROR
	ok 'Varve is built' make -j2 BUILD=build all
	ok 'and tests of the tree pass' make -j2 BUILD=build check TESTS='tests/lsm/test_[a-l]*.c'
fi
cd /
ok 'umount again' unmount_store
ok 'check' "$VARVE" check "$STORE"
done_testing
