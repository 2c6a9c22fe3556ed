#!/bin/bash
# The lists of mistakes fit the code; and run.py, on a tree of two files, tells a mistake that
# is caught from one that survives, does not build or does not fit.

tests_dir=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

python3 "$tests_dir/run.py" --check >"$dir/said" 2>&1
result $? 'every old text of the lists is in its file, once'
sed 's/^/# /' "$dir/said"

# A tree that is built and tested as this one: "make build-tests", tests/run, tests/x/test_*.
mkdir -p "$dir/tree/tests/mutants" "$dir/tree/tests/x"
cd "$dir/tree" || exit 1
git init -q .
cp "$tests_dir/../run" tests/run
cat >Makefile <<'END'
build-tests: build/tests/x/test_sum.t
build/tests/x/test_sum.t: sum.c tests/x/test_sum.c
	mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $^
END
cat >sum.c <<'END'
int sum(int a, int b);
int sum(int a,
	int b)
{
	if (a < 0 && b < 0)
		return -sum(-a, -b);
	for (; b; b--)
		a++;
	return a;
}
END
cat >tests/x/test_sum.c <<'END'
#include <stdio.h>
int sum(int a, int b);
int main(void)
{
	int good = sum(2, 3) == 5;

	printf("%s 1 - sums\n", good ? "ok" : "not ok");
	return !good;
}
END

list() { # a rule, its old text and its new one, to which lines may be added
	cat >tests/mutants/x.list <<END
# A comment.

[name] A sum is
  what it should be.
file: sum.c
- $1
+ $2
tests: tests/x/test_sum.c
$3
END
}

# NAME STATUS PATTERN [ARGUMENT...]: run.py ends so, and says something like this.
says() {
	local name=$1 want=$2 pattern=$3 said status

	shift 3
	said=$(SLOWER_S=1 python3 "$tests_dir/run.py" --root=. "$@" 2>&1)
	status=$?
	[ $status = "$want" ] && grep -q -- "$pattern" <<<"$said"
	status=$?
	result $status "$name"
	[ $status = 0 ] || sed 's/^/#   /' <<<"$said"
}

list 'a++;' 'a--;'
says 'a mistake that a test finds is caught' 0 '1 mistakes: 1 caught, 0 survive'
says '... by its name' 0 '1 caught' 'na*'
says 'another name is none' 2 'no mistake has such a name' other
says 'one that is not for CI' 2 'no mistake' --ci
list 'a++;' 'a--;' 'ci: yes'
says 'one that is' 0 '1 caught' --ci
list 'return a;' '__builtin_trap();'
says 'a crash is a failure' 0 '1 caught'
list 'b--)' 'b = 1)'
says 'so is a test that hangs' 0 '1 caught'
list '-sum(-a, -b)' '0'
says 'a mistake that no test finds survives' 1 '^survives  *name'
list '-sum(-a, -b)' '0' 'reason: nobody sums such'
says '... rightly, if there is a reason' 0 'nobody sums such'
list 'a++;' 'a++'
says 'what does not build is no mistake' 1 '^does not build name'
list 'int sum(int a, int b)' 'long sum(int a, int b)'
says 'an old text that is there twice is named, however it is laid out' 2 \
	'x.list:3: name: the old text is 2 times in sum.c'
list 'a--;' 'a++;'
says '... so is one that is not there' 2 'is 0 times' --check
list 'a++;' 'a++;'
says '... and one that is not changed' 2 'changes nothing'
printf 'what\n' >>tests/mutants/x.list
says 'a line that is not understood is named' 2 'x.list:10: not understood: what'
list 'a++;' 'a--;'
sed -i 's/== 5/== 6/' tests/x/test_sum.c
says 'a test that fails without a mistake tells nothing' 2 'fails without a mistake'
[ -z "$(git status --porcelain --untracked-files=no)" ] && grep -q 'a++;' sum.c
result $? 'the tree itself is not changed'

done_testing
