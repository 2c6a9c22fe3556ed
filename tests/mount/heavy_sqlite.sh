#!/bin/bash
# sqlite3 on the mount, with a rollback journal and with a write-ahead log (which
# needs a file that processes share by mmap): SQLITE_WRITERS processes add
# SQLITE_ROWS rows each, one transaction a row; one of them is killed half way.

. "$(dirname "$0")/lib.sh"

[ "${HEAVY:-}" = full ] && : "${SQLITE_ROWS:=2000}"
: "${SQLITE_ROWS:=100}" "${SQLITE_WRITERS:=4}"

sql() { sqlite3 -batch -bail -init /dev/null "$@" 2>&1; }

writer() { # DATABASE WRITER
	for ((i = 1; i <= SQLITE_ROWS; i++)); do
		echo "BEGIN IMMEDIATE;
			INSERT INTO t VALUES ($2, $i, hex(randomblob(abs(random()) % 2000)));
			UPDATE counts SET n = n + 1 WHERE writer = $2;
			COMMIT;"
	done | sql -cmd '.timeout 120000' "$1"
}

integrity() { # DATABASE
	test "$(sql "$1" 'PRAGMA integrity_check')" = ok
}

try() { # JOURNAL MODE
	local mode=$1 db=$MNT/$1.db pids=() w status=0 got
	sql "$db" "PRAGMA journal_mode=$mode; PRAGMA synchronous=FULL;
		CREATE TABLE t (writer INT, i INT, blob TEXT, UNIQUE (writer, i));
		CREATE TABLE counts (writer INT PRIMARY KEY, n INT);" >"$DIR/said"
	run "$mode: the journal's mode is taken" grep -qx "$mode" "$DIR/said"
	for ((w = 1; w <= SQLITE_WRITERS; w++)); do
		sql "$db" "INSERT INTO counts VALUES ($w, 0)"
	done
	for ((w = 1; w <= SQLITE_WRITERS; w++)); do
		writer "$db" $w >"$DIR/writer$w" &
		pids+=($!)
	done
	# Readers beside them see whole transactions only.
	for _ in {1..10}; do
		got=$(sql -cmd '.timeout 120000' "$db" \
			'SELECT (SELECT count(*) FROM t) = (SELECT sum(n) FROM counts)')
		[ "$got" = 1 ] || { status=1; diag "a reader saw: $got"; }
	done
	ok $status "$mode: readers see whole transactions"
	status=0
	for w in "${pids[@]}"; do wait "$w" || status=1; done
	cat "$DIR"/writer* | sed 's/^/# /'
	ok $status "$mode: $SQLITE_WRITERS concurrent writers"
	got=$(sql "$db" 'SELECT count(*) FROM t')
	run "$mode: all $((SQLITE_ROWS * SQLITE_WRITERS)) rows, got $got" \
		test "$got" = $((SQLITE_ROWS * SQLITE_WRITERS))
	run "$mode: integrity_check" integrity "$db"

	# A writer that dies within a transaction leaves what the next one rolls back.
	{
		echo 'PRAGMA cache_size=10; BEGIN IMMEDIATE; DELETE FROM t;'
		echo "INSERT INTO t SELECT 0, value, hex(randomblob(500))
			FROM generate_series(1, 2000);"
		echo '.system kill -9 $PPID'
	} >"$DIR/deadly.sql"
	(sql "$db" <"$DIR/deadly.sql") >/dev/null 2>&1
	[ "$mode" = wal ] || run "$mode: its journal is there" test -s "$db-journal"
	got=$(sql "$db" 'SELECT count(*) FROM t')
	run "$mode: a killed transaction is rolled back, got $got rows" \
		test "$got" = $((SQLITE_ROWS * SQLITE_WRITERS))
	run "$mode: integrity_check after it" integrity "$db"
	run "$mode: vacuum" sql "$db" VACUUM
	run "$mode: integrity_check after vacuum" integrity "$db"
}

mount_store
try delete
try wal
run 'umount' unmount_store
mount_store
for mode in delete wal; do
	run "$mode: integrity_check after a remount" integrity "$MNT/$mode.db"
	got=$(sql "$MNT/$mode.db" 'SELECT count(*) FROM t')
	run "$mode: all rows after a remount" test "$got" = $((SQLITE_ROWS * SQLITE_WRITERS))
done
run 'umount again' unmount_store
run 'check' "$VARVE" check "$STORE"
finish
