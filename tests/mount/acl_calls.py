#!/usr/bin/env python3
"""acl_calls.py A B SEED COUNT: the same random calls of several users in two directories with ACLs.

Run by acl.sh, as root, with A on a mount and B on an ext4. After each call these are compared: the result or the
error; type, mode, owner, group and both ACLs of the paths it was about; and whether each is another
file or its ctime changed. At the end everything is compared. The bytes of ACLs are random, and mostly
valid. If there is a difference, the program prints it with a shortest sequence of calls that leads to it, and
exits with 1."""

import errno
import os
import stat
import struct
import sys

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

import random_lib
from random_lib import Octal

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
# Groups, the first is the main one.
USERS = {0: [0], 1001: [1001], 1002: [1002, 3001], 1003: [3001, 3000, 3002], 1004: [1004, 7, 3000]}
# Mostly directories and mostly files, so that most calls find a file of the type they need.
DIRECTORIES = ["a", "b", "a/a", "a/b", "b/a", "a/a/a"]
FILES = ["f", "g", "a/f", "a/g", "b/f", "a/a/f", "a/b/f", "a/a/a/f"]
NONE = 0xFFFFFFFF

one = st.sampled_from
users = one([0, 0, *[u for u in USERS if u]])
masks = one([0o22, 0o77, 0, 0o27]).map(Octal)
directories, files = one(DIRECTORIES), one(FILES)
paths = one(DIRECTORIES + FILES)
modes = one([0o777, 0o666, 0o640, 0o600, 0o2775, 0o6755, 0o1777, 0o700, 0o070, 0]).map(Octal)
permissions = one([7, 7, 7, 0, 4, 5, 6])


def choices(numbers):
    """None of them, one, or two."""
    pairs = [[a, b] for a in numbers for b in numbers if a != b]
    return [[]] * len(pairs) + [[a] for a in numbers] * (len(numbers) - 1) + pairs


NAMED_USERS, NAMED_GROUPS = choices([1001, 1002, 1003, 1004]), choices([3000, 3001, 3002])


@st.composite
def acls(draw):
    """An ACL; one in ten is damaged in some way."""
    named_users, named_groups = draw(one(NAMED_USERS)), draw(one(NAMED_GROUPS))
    entries = [(1, NONE)] + [(2, u) for u in named_users] + [(4, NONE)] + [(8, g) for g in named_groups]
    if named_users or named_groups or draw(st.integers(0, 4)) == 4:
        entries.append((16, NONE))
    entries = [[tag, draw(permissions), i] for tag, i in entries + [(32, NONE)]]
    version = 2
    damage = draw(st.integers(0, 79))
    which = st.integers(0, len(entries) - 1)
    if damage == 72:
        del entries[draw(which)]
    elif damage == 73:
        entries.insert(draw(which), list(entries[draw(which)]))
    elif damage == 74:
        entries = draw(st.permutations(entries))
    elif damage == 75:
        entries[draw(which)][1] |= 8 << draw(st.integers(0, 11))
    elif damage == 76:
        entries[draw(which)][0] = draw(st.integers(0, 64))
    elif damage == 77:
        entries[draw(which)][2] = draw(one([NONE, 0, 5]))
    elif damage == 78:
        entries = []
    elif damage == 79:
        version = draw(one([0, 1, 3]))
    data = struct.pack("<I", version) + b"".join(struct.pack("<HHI", *e) for e in entries)
    return data[:-draw(st.integers(1, 8))] if draw(st.integers(0, 49)) == 49 else data


# ---- calls ----


def create(path, mode):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def write(path, flags):
    fd = os.open(path, flags | os.O_NONBLOCK)
    try:
        if flags & os.O_ACCMODE != os.O_RDONLY and stat.S_ISREG(os.fstat(fd).st_mode):
            os.write(fd, b"x")
    finally:
        os.close(fd)


def attribute(path, name):
    try:
        return os.getxattr(path, name, follow_symlinks=False).hex()
    except OSError as e:
        return errno.errorcode[e.errno]


def state(path):
    """What has to be the same in both directories, and what shows a change."""
    try:
        s = os.lstat(path)
    except OSError as e:
        return errno.errorcode[e.errno], 0
    return (
        (oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink)
        + (attribute(path, ACCESS), attribute(path, DEFAULT))
    ), (s.st_ino, s.st_ctime_ns)


def run_as(uid, mask, fn, paths):
    gid, *groups = USERS[uid]
    os.umask(mask)
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        return fn(*paths)
    except OSError as e:
        return errno.errorcode[e.errno]
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])
        os.umask(0o22)


class AclCalls(random_lib.TwoDirectories):
    def call(self, user, mask, fn, *paths):
        """Call fn with the paths in both directories, and compare."""
        results = []
        for d in self.roots:
            full = [os.path.join(d, p) for p in paths]
            before = [state(p) for p in full]
            result = run_as(user, mask, fn, full)
            after = [state(p) for p in full]
            moved = [a[1] != b[1] for a, b in zip(after, before)]
            results.append((result, [a[0] for a in after], moved))
        AclCalls.made += 1
        if results[0] != results[1]:
            self.same([f"{results[0]} in A, {results[1]} in B"])

    def compare_all(self):
        trees = []
        for d in self.roots:
            names = [os.path.join(p, n) for p, ds, fs in os.walk(d) for n in ds + fs]
            paths = [os.path.relpath(n, d) for n in names]
            trees.append([(p, state(os.path.join(d, p))[0]) for p in sorted(paths)])
        if trees[0] != trees[1]:
            self.same([f"{trees[0]} in A, {trees[1]} in B"])

    @initialize(made=st.lists(st.tuples(users, one(DIRECTORIES + FILES)), max_size=20))
    def furnish(self, made):
        """Begin with some files and directories."""
        for user, path in made:
            if path in DIRECTORIES:
                self.mkdir(user, 0, path, 0o777)
            else:
                self.creat(user, 0, path, 0o666)

    @rule(user=users, mask=masks, path=directories | files, value=acls())
    def set_access(self, user, mask, path, value):
        self.call(user, mask, lambda p: os.setxattr(p, ACCESS, value), path)

    @rule(user=users, mask=masks, path=directories, value=acls())
    def set_default(self, user, mask, path, value):
        self.call(user, mask, lambda p: os.setxattr(p, DEFAULT, value), path)

    @rule(user=users, mask=masks, path=directories | files, kind=one([ACCESS, DEFAULT]))
    def removexattr(self, user, mask, path, kind):
        self.call(user, mask, lambda p: os.removexattr(p, kind), path)

    @rule(user=users, mask=masks, path=directories | files)
    def listxattr(self, user, mask, path):
        self.call(user, mask, lambda p: sorted(os.listxattr(p)), path)

    @rule(user=users, mask=masks, path=directories | files, mode=modes)
    def chmod(self, user, mask, path, mode):
        self.call(user, mask, lambda p: os.chmod(p, mode), path)

    # Not without an owner and a group: see "Where a mount differs from ext4" in tests/README.md.
    @rule(user=users, mask=masks, path=directories | files,
          to=one([(-1, 1001), (-1, 3000), (-1, 3001), (1001, -1), (1002, 3001)]))
    def chown(self, user, mask, path, to):
        self.call(user, mask, lambda p: os.chown(p, *to), path)

    @rule(user=users, mask=masks, path=files, mode=modes)
    def creat(self, user, mask, path, mode):
        self.call(user, mask, lambda p: create(p, mode), path)

    @rule(user=users, mask=masks, path=directories, mode=modes)
    def mkdir(self, user, mask, path, mode):
        self.call(user, mask, lambda p: os.mkdir(p, mode), path)

    @rule(user=users, mask=masks, path=files, mode=modes)
    def mkfifo(self, user, mask, path, mode):
        self.call(user, mask, lambda p: os.mkfifo(p, mode), path)

    @rule(user=users, mask=masks, path=files)
    def symlink(self, user, mask, path):
        self.call(user, mask, lambda p: os.symlink("f", p), path)

    @rule(user=users, mask=masks, path=files, to=paths)
    def link(self, user, mask, path, to):
        self.call(user, mask, os.link, path, to)

    @rule(user=users, mask=masks, path=directories | files, to=paths)
    def rename(self, user, mask, path, to):
        self.call(user, mask, os.rename, path, to)

    @rule(user=users, mask=masks, path=files)
    def unlink(self, user, mask, path):
        self.call(user, mask, os.unlink, path)

    @rule(user=users, mask=masks, path=directories)
    def rmdir(self, user, mask, path):
        self.call(user, mask, os.rmdir, path)

    @rule(user=users, mask=masks, path=directories | files, mode=one([os.R_OK, os.W_OK, os.X_OK]))
    def access(self, user, mask, path, mode):
        self.call(user, mask, lambda p: os.access(p, mode, effective_ids=True), path)

    @rule(user=users, mask=masks, path=files,
          flags=one([os.O_RDONLY, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY, os.O_RDWR]))
    def write(self, user, mask, path, flags):
        self.call(user, mask, lambda p: write(p, flags), path)

    @rule(user=users, mask=masks, path=files)
    def truncate(self, user, mask, path):
        self.call(user, mask, lambda p: os.truncate(p, 1), path)

    @rule(user=users, mask=masks, path=directories)
    def readdir(self, user, mask, path):
        self.call(user, mask, lambda p: sorted(os.listdir(p)), path)


AclCalls.parents = sys.argv[1:3]
random_lib.run(AclCalls, sys.argv[3], int(sys.argv[4]))
