#!/bin/bash
# sqlite3 on the mount, with a rollback journal and with a write-ahead log (which
# needs a file that processes share by mmap): SQLITE_WRITERS processes add
# SQLITE_ROWS rows each, one transaction a row; one of them is killed half way.

. "$(dirname "$0")/heavy_lib.sh"

full SQLITE_ROWS 2000 100
full SQLITE_WRITERS 4 4
rows=$((SQLITE_ROWS * SQLITE_WRITERS))

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
	local said
	said=$(sql "$1" 'PRAGMA integrity_check')
	echo "$said"
	test "$said" = ok
}

try() { # JOURNAL MODE
	local mode=$1 db=$MNT/$1.db pids=() w status=0 got
	sql "$db" "PRAGMA journal_mode=$mode; PRAGMA synchronous=FULL;
		CREATE TABLE t (writer INT, i INT, blob TEXT, UNIQUE (writer, i));
		CREATE TABLE counts (writer INT PRIMARY KEY, n INT);" >"$T/said"
	ok "$mode: the journal's mode is taken" grep -qx "$mode" "$T/said"
	for ((w = 1; w <= SQLITE_WRITERS; w++)); do
		sql "$db" "INSERT INTO counts VALUES ($w, 0)"
	done
	for ((w = 1; w <= SQLITE_WRITERS; w++)); do
		writer "$db" $w >"$T/writer$w" &
		pids+=($!)
	done
	# Readers beside them see whole transactions only.
	for _ in {1..10}; do
		got=$(sql -cmd '.timeout 120000' "$db" \
			'SELECT (SELECT count(*) FROM t) = (SELECT sum(n) FROM counts)')
		[ "$got" = 1 ] || { status=1; diag "a reader saw: $got"; }
	done
	is "$mode: readers see whole transactions" $status 0
	status=0
	for w in "${pids[@]}"; do wait "$w" || status=1; done
	cat "$T"/writer* | sed 's/^/# /'
	is "$mode: $SQLITE_WRITERS concurrent writers" $status 0
	is "$mode: all rows are there" "$(sql "$db" 'SELECT count(*) FROM t')" $rows
	ok "$mode: integrity_check" integrity "$db"

	# A writer dies within a transaction. The next one rolls that back.
	{
		echo 'PRAGMA cache_size=10; BEGIN IMMEDIATE; DELETE FROM t;'
		echo "INSERT INTO t SELECT 0, value, hex(randomblob(500))
			FROM generate_series(1, 2000);"
		echo '.system kill -9 $PPID'
	} >"$T/deadly.sql"
	(sql "$db" <"$T/deadly.sql") >/dev/null 2>&1
	[ "$mode" = wal ] || ok "$mode: its journal is there" test -s "$db-journal"
	got=$(sql "$db" 'SELECT count(*) FROM t')
	is "$mode: a killed transaction is rolled back" "$got" $rows
	ok "$mode: integrity_check after it" integrity "$db"
	ok "$mode: vacuum" sql "$db" VACUUM
	ok "$mode: integrity_check after vacuum" integrity "$db"
}

mount_store
try delete
try wal
ok 'umount' unmount_store
mount_store
for mode in delete wal; do
	ok "$mode: integrity_check after a remount" integrity "$MNT/$mode.db"
	is "$mode: all rows after a remount" "$(sql "$MNT/$mode.db" 'SELECT count(*) FROM t')" $rows
done
ok 'umount again' unmount_store
ok 'check' "$VARVE" check "$STORE"
done_testing
