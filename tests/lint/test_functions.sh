#!/bin/bash
# tests/lint/rings and tests/lint/doubles find what they look for, and nothing else.

lint=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

# FILE CONTENT...: the tree has these files, and nothing else.
tree() {
	rm -rf "${dir:?}/tree"
	mkdir -p "$dir"/tree/{lsm/base,lsm/table,fs,mount}
	while [ $# -gt 0 ]; do
		printf '%b\n' "$2" >"$dir/tree/$1"
		shift 2
	done
}

# Compile the tree and print what `rings` says of it.
rings() {
	local file

	cd "$dir/tree" || return
	for file in lsm/*.c lsm/*/*.c fs/*.c mount/*.c; do
		[ -f "$file" ] || continue
		mkdir -p "build/${file%/*}"
		"${CC:-cc}" -w -c -o "build/${file%.c}.o" "$file" || return
	done
	"$lint/rings" build 2>&1
	echo "status $?"
}

doubles() {
	"$lint/doubles" "$dir/tree" 2>&1
	echo "status $?"
}

# ---- rings ----

tree lsm/a.c 'int b();int a() { return b(); }' lsm/b.c 'int c();int b() { return c(); }' \
	lsm/base/c.c 'int c() { return 1; }'
is 'calls in one direction' "$(rings)" 'status 0'

tree lsm/a.c 'int b();int a() { return b(); }' lsm/b.c 'int a();int b() { return a(); }' \
	lsm/c.c 'int a();int c() { return a(); }'
is 'two files, and a third that calls them' "$(rings)" \
	'lsm/a.c:1: 2 files call each other in a ring: lsm/a.c lsm/b.c
    lsm/a.c uses of lsm/b.c: b
    lsm/b.c uses of lsm/a.c: a
status 1'

tree lsm/a.c 'int t();int a() { return t(); }' lsm/table/t.c 'int c();int t() { return c(); }' \
	lsm/base/c.c 'int a();int c() { return a(); }'
is 'three files in three rooms' "$(rings)" \
	'lsm/a.c:1: 3 files call each other in a ring: lsm/a.c lsm/base/c.c lsm/table/t.c
    lsm/a.c uses of lsm/table/t.c: t
    lsm/base/c.c uses of lsm/a.c: a
    lsm/table/t.c uses of lsm/base/c.c: c
status 1'

tree fs/a.c 'extern int n;int a() { return n; }' fs/b.c 'int a();int n;int b() { return a(); }'
is 'a variable counts as well' "$(rings)" \
	'fs/a.c:1: 2 files call each other in a ring: fs/a.c fs/b.c
    fs/a.c uses of fs/b.c: n
    fs/b.c uses of fs/a.c: a
status 1'

tree mount/a.c 'int b();int a() { return b(); }\nstatic int x() { return a(); }' \
	mount/b.c 'static int a() { return 1; }\nint b() { return a(); }'
is 'a static function of the same name does not' "$(rings)" 'status 0'

tree fs/a.c 'int b();int a() { return b(); }' fs/b.c 'int a();int b() { return a(); }' \
	mount/c.c 'int d();int c() { return d(); }' mount/d.c 'int c();int d() { return c(); }'
is 'two rings' "$(rings | grep -c ' in a ring: ')" 2

tree fs/a.c 'int a;'
is 'an object that is missing' "$(cd "$dir/tree" && "$lint/rings" build 2>&1)" \
	'rings: build has no object file of fs/a.c'

# ---- doubles ----

tree lsm/a.c 'static int put(int a)\n{\n}\n\nint a_get(void)\n{\n\tput(1);\n}' \
	fs/b.c 'int put(int a);\n\nint b_get(void)\n{\n\treturn put(1);\n}'
is 'declarations and calls are no definitions' "$(doubles)" 'status 0'

tree lsm/base/a.h 'static inline int put(int a)\n{\n}' \
	mount/b.c '/* One. */\n__attribute__((cold))\nstatic void put(int a,\n\t\tint b)\n{\n}'
is 'static functions of two layers, one in a header' "$(doubles)" \
	'lsm/base/a.h:1: put() is also defined at mount/b.c:3
mount/b.c:3: put() is also defined at lsm/base/a.h:1
status 1'

tree fs/a.c 'static void a_put(struct a *a) REQUIRES(a->mu)\n{\n}' \
	fs/b.c 'static void b_put(struct a *a)\n\tREQUIRES(a->mu)\n{\n}'
is 'attributes of locks are no names' "$(doubles)" 'status 0'

tree fs/a.c '/*\nint put(void)\n{\n}\n*/\nconst char *TEXT = "/*";\n\nint put(void)\n{\n}' \
	fs/b.c 'int put(void)\n{\n}'
is 'comments are skipped, and no string starts one' "$(doubles)" \
	'fs/a.c:8: put() is also defined at fs/b.c:1
fs/b.c:1: put() is also defined at fs/a.c:8
status 1'

done_testing
