# tap.sh - TAP for shell tests. Source it first; call `done_testing` last, which ends the test.
# shellcheck shell=bash

count=0
failed=0

pass() { # WHAT
	count=$((count + 1))
	echo "ok $count - $1"
}

fail() { # WHAT [DETAIL...]
	count=$((count + 1))
	failed=$((failed + 1))
	echo "not ok $count - $1"
	shift
	[ $# -gt 0 ] && printf '%s\n' "$@" | head -n 40 | sed 's/^/#   /'
	return 0
}

ok() { # WHAT COMMAND...
	local what=$1 out

	shift
	if out=$("$@" 2>&1); then
		pass "$what"
	else
		fail "$what" "exit $? of: $*" "$out"
	fi
}

not_ok() { # WHAT COMMAND...: the command fails
	local what=$1 out

	shift
	if out=$("$@" 2>&1); then
		fail "$what" "succeeded: $*" "$out"
	else
		pass "$what"
	fi
}

is() { # WHAT GOT WANT
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		fail "$1" "got:  $2" "want: $3"
	fi
}

result() { # STATUS WHAT
	if [ "$1" = 0 ]; then
		pass "$2"
	else
		fail "$2"
	fi
}

done_testing() {
	echo "1..$count"
	[ $failed -eq 0 ]
	exit
}
