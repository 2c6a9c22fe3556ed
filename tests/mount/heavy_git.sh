#!/bin/bash
# git on the mount: clone of GIT_COMMITS commits, fsck, gc, status, old commits.

. "$(dirname "$0")/heavy_lib.sh"

full GIT_COMMITS 5000 1000
export HOME=$T GIT_CONFIG_NOSYSTEM=1
git config --global user.name Tester
git config --global user.email tester@example.org
git config --global init.defaultBranch main
git config --global advice.detachedHead false
git config --global gc.auto 0

# A history in which each commit changes one of 100 files in 10 folders and now
# and then adds one, removes one or changes a mode.
history() {
	perl -e '
		my $n = shift;
		srand(1);
		for my $i (1 .. $n) {
			my @lines = (1 .. 5 + $i % 200);
			my $text = "";
			$text .= sprintf("%d of %d: %x\n", $_, $i, rand(2**31)) for @lines;
			my $name = sprintf("folder%d/file%d.txt", $i % 10, int(rand(10)));
			my $message = "Change $name\n";
			print "commit refs/heads/main\nmark :$i\n";
			my $time = 1600000000 + $i * 60;
			print "committer Tester <t\@example.org> $time +0000\n";
			print "data ", length($message), "\n$message";
			print "from :", $i - 1, "\n" if $i > 1;
			my $mode = $i % 17 ? "100644" : "100755";
			print "M $mode inline $name\ndata ", length($text), "\n$text\n";
			if ($i % 50 == 0) {
				my $old = "added/" . ($i - 100) . ".bin";
				my $bytes = join("", map { chr(rand(256)) } 1 .. 3000);
				print "M 100644 inline added/$i.bin\ndata 3000\n$bytes\n";
				print "D $old\n" if $i > 100;
			}
		}' "$GIT_COMMITS"
}

git init -q --bare "$T/source.git"
history | git -C "$T/source.git" fast-import --quiet || bail 'no history'

mount_store
ok "clone of $GIT_COMMITS commits" git clone -q "file://$T/source.git" "$MNT/clone"
cd "$MNT/clone" || bail 'no clone'
is 'all commits are there' "$(git rev-list --count HEAD)" "$GIT_COMMITS"
ok 'fsck' git fsck --full --strict
is 'nothing changed' "$(git status --porcelain 2>&1)" ""
ok 'work tree as on another filesystem' bash -c '
	git clone -q "$1/source.git" "$1/plain" && diff -r -x .git "$1/plain" .' - "$T"

ok 'checkout of an old commit' git checkout -q "HEAD~$((GIT_COMMITS / 2))"
is 'clean there' "$(git status --porcelain 2>&1)" ""
ok 'and back' git checkout -q main
ok 'a branch of changes' bash -c '
	git checkout -qb work &&
	for i in 1 2 3 4 5; do
		echo "change $i" >>folder$i/new.txt &&
		git add . && git commit -qm "Change $i" || exit 1
	done &&
	git mv folder6 moved && git commit -qm Move && git rebase -q --force-rebase HEAD~3'
ok 'a stash and its return' bash -c '
	echo dirty >>folder1/new.txt && git stash -q && test -z "$(git status --porcelain)" &&
	git stash pop -q && git diff --stat | grep -q new.txt && git checkout -q .'
ok 'every object loose' bash -c '
	mv .git/objects/pack/*.pack "$1/all.pack" && rm -f .git/objects/pack/* &&
	git unpack-objects -q <"$1/all.pack"' - "$T"
diag "$(git count-objects)"
ok 'fsck of them' git fsck --full --strict
ok 'gc' git gc -q --aggressive --prune=now
ok 'fsck after gc' git fsck --full --strict
is 'status after gc' "$(git status --porcelain 2>&1)" ""

head=$(git rev-parse HEAD)
cd /
ok 'umount' unmount_store
ok 'check' "$VARVE" check "$STORE"
mount_store
is 'the same head after a remount' "$(git -C "$MNT/clone" rev-parse HEAD)" "$head"
ok 'fsck after a remount' git -C "$MNT/clone" fsck --full --strict
is 'status after a remount' "$(git -C "$MNT/clone" status --porcelain 2>&1)" ""
ok 'removal' rm -rf "$MNT/clone"
ok 'umount again' unmount_store
done_testing
