#!/bin/bash
# acl.sh - POSIX ACLs: who may do what, how they and modes go together, inheritance,
# copies; the same calls on ext4 for comparison; and a mount without the option.
# shellcheck source=tests/mount/lib.sh
. "$(dirname "$0")/lib.sh"

only_root "only root can be several users"
for program in setfacl getfacl rsync; do
	command -v $program >/dev/null && continue
	skip "ACLs" "no $program"
	done_testing
done
M=$T/mnt

# as UID GROUPS COMMAND...: GROUPS with commas, the first is the main one.
as() {
	local uid=$1 groups=$2

	shift 2
	setpriv --reuid="$uid" --regid="${groups%%,*}" --groups "$groups" -- "$@"
}
acl() { getfacl -cnpE "$@" | paste -sd' ' | tr -s ' '; } # on one line

# ---- the rules, one by one ----

ok "mounts" mount_at "$T/store" "$M" -o acl,allow_other
cd "$M" || exit
chmod 755 .
umask 022
echo secret >file
chmod 640 file
not_ok "a stranger may not read" as 1001 1001 cat file
ok "setfacl" setfacl -m u:1001:r file
ok "... for him: then he may" as 1001 1001 cat file
not_ok "... but not write" as 1001 1001 sh -c 'echo x >>file'
not_ok "... and nobody else" as 1002 1002 cat file
is "the mode shows the mask" "$(stat -c %A file)" "-rw-r-----"
ok "a group" setfacl -m g:3000:rw file
ok "... its members may write" as 1002 3000 sh -c 'echo x >>file'
ok "... also those it is a supplementary group of" as 1003 1003,7,3000 sh -c 'echo x >>file'
not_ok "... no others" as 1003 1003,7 cat file
is "the mask grew with it" "$(stat -c %a file)" 660
chmod 640 file
not_ok "chmod cuts the mask" as 1002 3000 sh -c 'echo x >>file'
ok "... and members may do what the new mask allows" as 1002 3000 cat file
is "... and the ACL says so" "$(acl file)" \
	"user::rw- user:1001:r-- group::r-- group:3000:rw- mask::r-- other::--- "
not_ok "only the owner sets it" as 1001 1001 setfacl -m u:1001:rw file
not_ok "... or removes it" as 1001 1001 setfacl -b file
chown 1001 file
ok "... and the owner may" as 1001 1001 setfacl -m u:1004:r file
chmod o=r file
setfacl -m u:1004:- file
not_ok "an entry without a permission counts before those of others" as 1004 1004 cat file
ok "an entry of more than one group counts as well" setfacl -b -m g:3000:-,g:3001:r,o:- file
ok "... for a member of both" as 1005 3000,3001 cat file
chmod 640 file
ok "removal" setfacl -b file
is "... leaves the mode" "$(stat -c %a file)" 640
is "... and no attribute" "$(getfattr -d -m - file)" ""
ok "an ACL that is a mode" setfacl -m u::rwx,g::rx,o::- file
is "... sets it" "$(stat -c %a file)" 750
is "... and is none" "$(getfattr -d -m - file)" ""
ln -s file link
not_ok "a symbolic link has none" setfattr -h -n system.posix_acl_access -v 0x02000000 link
not_ok "bytes that are none are refused" \
	setfattr -n system.posix_acl_access -v 0x0200000001000600ffffffff file
not_ok "a file has no default ACL" setfacl -d -m u:1001:r file

mkdir dir
ok "a default ACL" setfacl -d -m u:1001:rwx,g::rx,o:- dir
umask 077
mkdir dir/sub
touch dir/file
mkfifo dir/fifo
ln -s x dir/link
umask 022
is "a file gets it, whatever the umask" "$(acl dir/file)" \
	"user::rw- user:1001:rwx group::r-x mask::rw- other::--- "
is "... its mode" "$(stat -c %a dir/file)" 660
is "a fifo as well" "$(stat -c %a dir/fifo)" 660
is "a directory as both" "$(acl dir/sub)" "$(echo user::rwx user:1001:rwx group::r-x mask::rwx \
	other::--- default:user::rwx default:user:1001:rwx default:group::r-x default:mask::rwx \
	default:other::---) "
is "a symbolic link not" "$(stat -c %a dir/link)" 777
ok "he may make a file there" as 1001 1001 touch dir/sub/his
is "... with it" "$(acl dir/sub/his)" \
	"user::rw- user:1001:rwx group::r-x mask::rw- other::--- "
before=$(acl dir/file)
ln dir/file dir/hard
mv dir/file moved
is "a hard link has the same" "$(acl dir/hard)" "$before"
is "a renamed file too" "$(acl moved)" "$before"

mkdir setgid
chown 1001:3000 setgid
chmod 2775 setgid
as 1001 1001,3000 setfacl -m u:1002:rwx setgid
is "setgid stays when a member of the group sets an ACL" "$(stat -c %a setgid)" 2775
as 1001 1001 setfacl -m u:1003:rwx setgid
is "... and is cleared when another user does" "$(stat -c %a setgid)" 775

# ---- copies ----

rm -f dir/fifo moved dir/hard
all() { (cd "$1" && getfacl -Rnp . | sort); }
cp -a dir copied
is "cp -a keeps all" "$(all copied)" "$(all dir)"
rsync -aHAX dir/ synced
is "rsync -aHAX as well" "$(all synced)" "$(all dir)"
mkdir unpacked
tar --acls -C dir -cf - . | tar --acls -C unpacked -xpf -
is "tar --acls as well" "$(all unpacked)" "$(all dir)"
saved=$(cd dir && getfacl -Rnp .)
setfacl -R -b dir
is "setfacl -R -b leaves none" "$(getfacl -Rsnp dir)" ""
(cd dir && setfacl --restore=- <<<"$saved")
is "setfacl --restore brings them back" "$(all dir)" "$(all copied)"
is "plain cp -r keeps none" "$(cp -r copied plain && getfacl -Rsnp plain)" ""

# ---- without the option, and with it again ----

cd /
before=$(cd "$M" && all copied)
ok "umount" "$VARVE" umount "$M"
ok "check is clean" "$VARVE" check "$T/store"
ok "mounts without ACLs" mount_at "$T/store" "$M" -o acl,noacl,allow_other
cd "$M" || exit
is "they are not seen" "$(getfattr -hR -d -m - copied 2>&1)$(getfacl -Rsnp copied)" ""
is "... nor read" "$(getfattr -n system.posix_acl_access copied/sub 2>&1 | grep -o 'Operation.*')" \
	"Operation not supported"
not_ok "... nor set" setfacl -m u:1001:r copied/sub
not_ok "... nor in force" as 1001 1001 ls copied/sub
umask 027
mkdir copied/late
is "... nor inherited: the umask counts" "$(stat -c %a copied/late)" 750
rmdir copied/late
umask 022
cd /
ok "umount" "$VARVE" umount "$M"
ok "mounts with them" mount_at "$T/store" "$M" -o acl,allow_other
is "they are as they were" "$(cd "$M" && all copied)" "$before"

# ---- the same calls on ext4 ----

truncate -s 64M "$T/image"
mkdir "$T/ext4"
export PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=$T/hypothesis
if python=$(python_with hypothesis) && mkfs.ext4 -q "$T/image" 2>/dev/null &&
	mount -o loop,acl "$T/image" "$T/ext4" 2>/dev/null; then
	mkdir "$M/calls"
	for seed in $(seq "${ACL_SEED:-1}" $((${ACL_SEED:-1} + ${ACL_SEEDS:-4} - 1))); do
		mkdir "$M/calls/$seed" "$T/ext4/$seed"
		ok "random calls have the same results as on ext4, seed $seed" \
			"$python" "$tests_dir/acl_calls.py" "$M/calls/$seed" \
			"$T/ext4/$seed" "$seed" "${ACL_CALLS:-2000}"
	done
	umount "$T/ext4"
else
	skip "random calls as on ext4" "no hypothesis for Python, or no loop device"
fi
ok "umount" "$VARVE" umount "$M"
ok "check is clean" "$VARVE" check "$T/store"

done_testing
