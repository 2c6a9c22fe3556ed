#!/bin/bash
# access.sh - who may do what: modes, owners, set-user-ID, extended attributes.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

only_root "only root can be several users"
user_setup
ok "mounts for all" mount_at "$T/store" "$T/mnt" -o allow_other,suid
cd "$T/mnt" || exit
chmod 755 .
user() { (cd "$T/mnt" && as_user "$@"); }

echo secret >secret && chmod 600 secret
not_ok "a private file is not read by others" user cat secret
not_ok "... nor written" user sh -c 'echo x >>secret'
not_ok "... nor its mode changed" user chmod 666 secret
not_ok "... nor its owner" user chown 65534 secret
not_ok "nothing is made in another's directory" user touch mine
mkdir shared && chmod 1777 shared
ok "but in a shared one" user touch shared/mine
is "... it has its maker's owner" "$(stat -c %u:%g shared/mine)" 65534:65534
touch shared/roots
not_ok "others' files in a sticky one stay" user rm shared/roots
ok "one's own go" user rm shared/mine
mkdir nosearch && touch nosearch/x && chmod 600 nosearch
not_ok "a directory without x is not searched" user stat nosearch/x
umask 027
touch masked && mkdir maskeddir
is "umask" "$(stat -c %a masked maskeddir | tr '\n' ' ')" "640 750 "
umask 022

mkdir group && chgrp 65534 group && chmod 2775 group
touch group/file && mkdir group/dir
is "a set-group-ID directory gives its group" "$(stat -c %g group/file)" 65534
is "... and itself to directories" "$(stat -c '%g %a' group/dir)" "65534 2755"
chgrp 0 group
is "chgrp of such a directory keeps it such" "$(stat -c %a group)" 2775

# The program runs without a stat before it: the kernel's cached mode must be right.
euid() { user ./prog -u; }
cp "$(command -v id)" prog
chmod 6777 prog
is "a set-user-ID program" "$(euid)" 0
dd if=prog of=copy bs=1 count=100 status=none
user dd if=copy of=prog conv=notrunc status=none
is "... is one no more when others wrote to it" "$(euid)" 65534
is "... as its mode says" "$(stat -c %a prog)" 777
chmod 6777 prog
dd if=copy of=prog conv=notrunc status=none
is "root's writing leaves it" "$(stat -c %a prog)" 6777
chown 65534 prog
is "chown does not" "$(stat -c %a prog)" 777
chmod 4777 prog
user truncate -s 10 prog
is "nor truncation by others" "$(stat -c %a prog)" 777

if command -v setfattr >/dev/null; then
	touch attributes
	ok "setfattr" setfattr -n user.colour -v blue attributes
	is "getfattr" "$(getfattr --only-values -n user.colour attributes)" blue
	ok "trusted attributes" setfattr -n trusted.x -v 1 attributes
	is "... of root" \
		"$(user getfattr -n trusted.x attributes 2>&1 | grep -c 'No such attribute')" 1
	head -c 60000 /dev/zero | tr '\0' v >"$T/value"
	ok "a value of 60000 bytes" setfattr -n user.big -v "0s$(base64 -w0 "$T/value")" attributes
	is "... is whole" "$(getfattr --only-values -n user.big attributes | wc -c)" 60000
	is "all are listed" "$(getfattr -d -m - attributes 2>/dev/null | grep -c =)" 3
	ok "setfattr -x" setfattr -x user.colour attributes
	is "... removes" "$(getfattr -d -m - attributes 2>/dev/null | grep -c =)" 2
	is "SELinux's labels are refused by name" \
		"$(setfattr -n security.selinux -v x attributes 2>&1 | grep -c 'not supported')" 1
	not_ok "ACLs are refused" setfattr -n system.posix_acl_access -v 0x02000000 attributes
	ok "cp -a has no complaint" cp -a attributes copied
	is "... and copies them" "$(getfattr -d -m - copied 2>/dev/null | grep -c =)" 2
	# Also where they may write to the root.
	chmod 777 .
	not_ok "others may not have it compact" user setfattr -n user.varve.compact -v 1 .
	is "nor scrub it, and be told names" "$(user getfattr -n user.varve.scrub.begin.100 . \
		2>&1 | grep -c 'not permitted')" 1
	chmod 755 .
else
	skip "extended attributes" "no setfattr"
fi
mknod null c 1 3
is "a device is one" "$(stat -c '%F %t %T' null)" "character special file 1 3"
not_ok "... that does not work here" sh -c 'echo x >null'
ok "flock" flock -n secret true
exec 8>>secret
flock 8
not_ok "... keeps others out" flock -n secret true
exec 8>&-
cd /
ok "umount" "$VARVE" umount "$T/mnt"

# There the kernel leaves access() to Varve.
ok "mounts for root alone" mount_at "$T/store" "$T/mnt"
cd "$T/mnt" || exit
chmod 000 nosearch/x nosearch
ok "root may read and write everything" test -r nosearch/x -a -w nosearch/x
not_ok "... but not execute a file without any x bit" test -x nosearch/x
chmod 010 nosearch/x
ok "... but a file with one" test -x nosearch/x
ok "... and search every directory" test -x nosearch
cd /
ok "umount" "$VARVE" umount "$T/mnt"
ok "check is clean" "$VARVE" check "$T/store"

done_testing
