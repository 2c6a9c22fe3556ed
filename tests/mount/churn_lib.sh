# shellcheck shell=bash
# Functions for the tests that run the program churn. They use heavy_lib.sh as well.

. "$(dirname "${BASH_SOURCE[0]}")/heavy_lib.sh"

CHURN=${BUILD:-$(dirname "$VARVE")}/tests/mount/churn/churn
WORK=$MNT/work
[ -x "$CHURN" ] || bail "no program $CHURN: build it first"
mkdir "$T/logs"
mkfifo "$T/commands" "$T/answers"

# Make the folder to work in, and start churn. It ends with end_churn or with this script.
start_churn() { # WRITERS READERS SLOTS QUOTA_MIB SEED
	mkdir "$WORK" || bail 'no folder to work in'
	"$CHURN" "$WORK" "$T/logs" "$@" <"$T/commands" >"$T/answers" 2>"$T/churn.err" &
	CHURN_PID=$!
	exec 7>"$T/commands" 8<"$T/answers"
}
end_churn() {
	echo end >&7
	exec 7>&- 8<&-
	wait "$CHURN_PID"
}

# Send a command and wait for its answer, in $answer. Comment lines are printed.
churn() { # COMMAND...
	echo "$*" >&7
	while read -r answer <&8; do
		case $answer in
		ok*) return 0 ;;
		'#'*) echo "$answer" ;;
		*) return 1 ;;
		esac
	done
	answer='failed: churn has ended'
	return 1
}

# Run a command as a test. A failure is reported with the last calls of the writers it names.
churns() { # WHAT COMMAND...
	local what=$1 log

	shift
	if churn "$@"; then
		pass "$what"
		return
	fi
	fail "$what" "$answer" "$(head -n 12 "$T/churn.err")"
	for log in $(sed -n 's/^\(w[0-9]*\): .*/\1/p' "$T/churn.err" | sort -u); do
		diag "the last calls of $log:"
		tail -n 12 "$T/logs/$log.log" | sed 's/^/#   /'
	done
	: >"$T/churn.err"
	return 1
}
