#!/usr/bin/env python3
"""random_calls.py A B SEED COUNT: the same random calls of four users in two directories. After each
call its result and the visible state are compared: errno, data, attributes, which times changed.

B is on an ext4 that is mounted with relatime, the reference. A is on a mount with `relatime`. Run by
heavy_random.sh, as root. The same seed makes the same calls. If there is a difference, the program prints
it with a shortest sequence of calls that leads to it, and exits with 1."""

import os
import stat
import sys

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

import random_lib
from calls_lib import EXCHANGE, KEEP_SIZE, NOREPLACE, PUNCH, UTIME_NOW, UTIME_OMIT, ZERO, tick
from random_lib import Octal
from random_users import USERS, User, contents, differences, look

NAMES = ["a", "b", "c", "d"]
PATHS = [*NAMES, *(f"{a}/{b}" for a in NAMES for b in NAMES),
         *(f"{a}/{b}/{c}" for a in NAMES for b in NAMES for c in NAMES)]
# The first ones are the more likely: their parents exist more often.
LIKELY = PATHS[:20] * 4 + PATHS
ENDINGS = ["/", "/.", "/..", "//", "/none", "/../a"]
ODD_PATHS = [".", "..", "", "n" * 256, "./" * 10 + "a"]
SLOTS = 5  # for the open files of a user
LOOK_AT_CONTENT = 50  # after so many calls


# ---- arguments ----


@st.composite
def paths(draw, there=75):
    """A path that exists, in `there` of 100 cases; else most often one in a directory that exists."""
    tree, kind = draw(st.runner()).tree, draw(st.integers(0, 99))
    if kind >= there + (100 - there) * 2 // 3:
        path = draw(st.sampled_from(LIKELY))
    elif kind < there and tree:
        path = draw(st.sampled_from(sorted(tree)))
    else:
        directories = [p + "/" for p, is_directory in tree.items() if is_directory and p.count("/") < 2]
        path = draw(st.sampled_from([""] + directories)) + draw(st.sampled_from(NAMES))
    if kind % 33 == 32:
        path += draw(st.sampled_from(ENDINGS))
    elif kind == 99:
        path = draw(st.sampled_from(ODD_PATHS))
    return "escaped" if path.startswith("..") else path


new = paths(there=20)


@st.composite
def descriptors(draw):
    """A user and one of his open files."""
    return draw(st.sampled_from(sorted(draw(st.runner()).descriptors)))


@st.composite
def flags(draw):
    """Flags of open(), by name."""
    out = [draw(st.sampled_from(["RDWR", "RDONLY", "WRONLY"]))]
    out += draw(st.sampled_from([["CREAT"], []]))
    for _ in range(2):
        out += draw(st.sampled_from([[]] * 6 + [["EXCL"], ["TRUNC"], ["APPEND"], ["NOFOLLOW"], ["DIRECTORY"],
                                                ["SYNC"], ["NOATIME"], ["PATH"]]))
    # Linux before 6.3 does not refuse the two together, and they have no meaning.
    return "|".join(f for f in out if f != "CREAT" or "DIRECTORY" not in out)


one = st.sampled_from
users = one([0] * 3 + [u for u in USERS if u])
slots = st.integers(0, SLOTS - 1)
modes = one([0o777] * 10 + [0, 0o600, 0o644, 0o664, 0o666, 0o755, 0o4755, 0o2755, 0o2745, 0o6777, 0o1777, 0o2775,
                            0o2777, 0o711, 0o070, 0o007, 0o400]).map(Octal)
values = st.integers(1, 255)
sizes = one([0, 1, 5, 100, 2000, 2048, 2049, 4096, 9000, 140000])
offsets = one([0, 1, 100, 2047, 2048, 4095, 4096, 10000, 131072, 200000])
ids = one([-1, 0, 1000, 1001, 2000, 65534])
times = one([(0, UTIME_NOW), (0, UTIME_OMIT), (0, 0), (5, 6), (-7, 8), (10**9, 999999999), (0, 10**9),
             (-1 << 40, 1), (1 << 40, 1), (5000000000, 1)])
attributes = one(["user.x", "user.y", "trusted.t", "security.s"])
bools = st.booleans()
special = one([stat.S_IFIFO, stat.S_IFREG, stat.S_IFCHR, stat.S_IFSOCK])
on_open = precondition(lambda self: self.descriptors)


def known(uid, call, answers):
    """chown() to nobody by a stranger: see "Where a mount differs from ext4" in tests/README.md."""
    return uid and call[0] in ("chown", "fchown") and call[2:4] == (-1, -1) and answers[1] == "EPERM"


class RandomCalls(random_lib.TwoDirectories):
    def __init__(self):
        super().__init__()
        self.users = {}
        self.descriptors = set()  # (user, slot)
        self.trees = [look(d, PATHS) for d in self.roots]
        self.tree = {}  # the paths that exist, and whether they are directories
        self.calls = 0

    @initialize(made=st.lists(st.tuples(users, one(["mkdir", "put", "open"]), one(PATHS[:20])), max_size=12))
    def furnish(self, made):
        """Begin with some directories, files and open files."""
        for number, (user, call, path) in enumerate(made):
            if call == "mkdir":
                self.mkdir(user, path, 0o777)
            elif call == "put":
                self.put(user, path, 1, 100, 0o777)
            else:
                self.open(user, number % SLOTS, path, "RDWR|CREAT", 0o777)

    def call(self, uid, *call):
        """Make a call in both directories, and compare."""
        if uid not in self.users:
            self.users[uid] = [User(d, uid) for d in self.roots]
        tick()
        answers = [u.call(*call) for u in self.users[uid]]
        before, self.trees = self.trees, [look(d, PATHS) for d in self.roots]
        self.tree = {p: stat.S_ISDIR(int(s[0], 8)) for p, (s, _, _) in self.trees[1].items() if p != "."}
        self.calls += 1
        RandomCalls.made += 1
        found = list(differences(before, self.trees))
        if answers[0] != answers[1] and not known(uid, call, answers):
            found.insert(0, f"{call[0]}: {answers[0]!r:.300} in A, {answers[1]!r:.300} in B")
        self.same(found)
        if self.calls % LOOK_AT_CONTENT == 0:
            self.compare_all()
        return answers[1]

    def compare_all(self):
        a, b = (contents(d, t) for d, t in zip(self.roots, self.trees))
        self.same(f"content of {k}" for k in sorted(set(a) | set(b), key=str) if a.get(k) != b.get(k))

    def teardown(self):
        for u in sum(self.users.values(), []):
            u.end()
        super().teardown()

    # ---- open files ----

    @rule(user=users, slot=slots, path=new, flags=flags(), mode=modes)
    def open(self, user, slot, path, flags, mode):
        bits = sum(getattr(os, "O_" + f) for f in set(flags.split("|")))
        self.descriptors.discard((user, slot))
        if self.call(user, "open", slot, path, bits, int(mode)) is None:
            self.descriptors.add((user, slot))

    @on_open
    @rule(fd=descriptors())
    def close(self, fd):
        self.descriptors.discard(fd)
        self.call(fd[0], "close", fd[1])

    @on_open
    @rule(fd=descriptors(), size=one([0, 1, 100, 5000, 200000]))
    def read(self, fd, size):
        self.call(fd[0], "read", fd[1], size)

    @on_open
    @rule(fd=descriptors(), size=one([1, 5000]), offset=offsets)
    def pread(self, fd, size, offset):
        self.call(fd[0], "pread", fd[1], size, offset)

    @on_open
    @rule(fd=descriptors(), value=values, size=sizes)
    def write(self, fd, value, size):
        self.call(fd[0], "write", fd[1], bytes([value]) * size)

    @on_open
    @rule(fd=descriptors(), value=values, size=sizes, offset=offsets)
    def pwrite(self, fd, value, size, offset):
        self.call(fd[0], "pwrite", fd[1], bytes([value]) * size, offset)

    @on_open
    @rule(fd=descriptors(), offset=offsets, whence=st.integers(0, 2))
    def seek(self, fd, offset, whence):
        self.call(fd[0], "seek", fd[1], offset, whence)

    @on_open
    @rule(fd=descriptors(), size=offsets)
    def ftruncate(self, fd, size):
        self.call(fd[0], "ftruncate", fd[1], size)

    @on_open
    @rule(fd=descriptors(), offset=offsets, size=offsets,
          mode=one([0, KEEP_SIZE, PUNCH | KEEP_SIZE, ZERO, ZERO | KEEP_SIZE, PUNCH]))
    def fallocate(self, fd, mode, offset, size):
        self.call(fd[0], "fallocate", fd[1], mode, offset, size)

    @on_open
    @rule(fd=descriptors(), to=slots, size=offsets, offset=offsets, to_offset=offsets)
    def copy(self, fd, to, size, offset, to_offset):
        self.call(fd[0], "copy", fd[1], to, size, offset, to_offset)

    @on_open
    @rule(fd=descriptors(), offset=offsets)
    def map(self, fd, offset):
        self.call(fd[0], "map", fd[1], offset, b"map")

    @on_open
    @rule(fd=descriptors(), call=one(["fstat", "fsync", "flistdir"]))
    def look_at_open(self, fd, call):
        self.call(fd[0], call, fd[1])

    @on_open
    @rule(fd=descriptors(), mode=modes)
    def fchmod(self, fd, mode):
        self.call(fd[0], "fchmod", fd[1], int(mode))

    @on_open
    @rule(fd=descriptors(), owner=ids, group=ids)
    def fchown(self, fd, owner, group):
        self.call(fd[0], "fchown", fd[1], owner, group)

    @on_open
    @rule(fd=descriptors(), atime=st.integers(0, 999), mtime=st.integers(0, 999))
    def futime(self, fd, atime, mtime):
        self.call(fd[0], "futime", fd[1], (atime, mtime))

    @on_open
    @rule(fd=descriptors(), call=one(["mkdir", "rmdir", "unlink"]), name=one(NAMES))
    def at(self, fd, call, name):
        self.call(fd[0], "at", call, fd[1], name)

    @on_open
    @rule(fd=descriptors(), name=one(NAMES), to=new)
    def rename_at(self, fd, name, to):
        self.call(fd[0], "at", "rename", fd[1], name, to)

    @on_open
    @rule(fd=descriptors(), path=new)
    def link_open(self, fd, path):
        self.call(fd[0], "link_open", fd[1], path)

    # ---- contents, by path ----

    @rule(user=users, path=paths(), size=offsets)
    def truncate(self, user, path, size):
        self.call(user, "truncate", path, size)

    @rule(user=users, path=paths())
    def get(self, user, path):
        self.call(user, "get", path)

    @rule(user=users, path=new, value=values, size=sizes, mode=modes)
    def put(self, user, path, value, size, mode):
        self.call(user, "put", path, bytes([value]) * size, int(mode))

    # ---- names ----

    @rule(user=users, path=new, mode=modes)
    def mkdir(self, user, path, mode):
        self.call(user, "mkdir", path, int(mode))

    @rule(user=users, path=paths(), call=one(["unlink", "rmdir"]))
    def remove(self, user, path, call):
        self.call(user, call, path)

    @rule(user=users, path=paths(), to=new)
    def rename(self, user, path, to):
        self.call(user, "rename", path, to)

    @rule(user=users, path=paths(), to=paths(), flags=one([EXCHANGE, EXCHANGE, NOREPLACE, EXCHANGE | NOREPLACE]))
    def renameat2(self, user, path, to, flags):
        self.call(user, "renameat2", path, to, flags)

    @rule(user=users, path=paths(), to=new, follow=bools)
    def link(self, user, path, to, follow):
        self.call(user, "link", path, to, follow)

    @rule(user=users, path=new, to=one(["a", "../a", "b/c", "d", "none", ".", "l" * 300]))
    def symlink(self, user, path, to):
        self.call(user, "symlink", to, path)

    @rule(user=users, path=new, kind=special, mode=modes)
    def mknod(self, user, path, kind, mode):
        self.call(user, "mknod", path, kind | (mode & 0o777), os.makedev(1, 3))

    @rule(user=users, path=new)
    def bind(self, user, path):
        self.call(user, "bind", path)

    @rule(user=users, path=paths(), call=one(["stat", "listdir", "readlink"]))
    def look_at(self, user, path, call):
        self.call(user, call, path)

    @rule(user=users, path=paths(), mode=st.integers(0, 7))
    def access(self, user, path, mode):
        self.call(user, "access", path, mode)

    # ---- attributes ----

    @rule(user=users, path=paths(), mode=modes)
    def chmod(self, user, path, mode):
        self.call(user, "chmod", path, int(mode))

    @rule(user=users, path=paths(), owner=ids, group=ids, follow=bools)
    def chown(self, user, path, owner, group, follow):
        self.call(user, "chown", path, owner, group, follow)

    @rule(user=users, path=paths(), atime=times, mtime=times, follow=bools)
    def utimensat(self, user, path, atime, mtime, follow):
        self.call(user, "utimensat", path, atime, mtime, 0 if follow else 0x100)

    @rule(user=users, path=paths(), name=attributes, size=st.integers(0, 49), flags=one([0, 0, 1, 2]), follow=bools)
    def setxattr(self, user, path, name, size, flags, follow):
        self.call(user, "setxattr", path, name, b"v" * size, flags, follow)

    @rule(user=users, path=paths(), call=one(["getxattr", "removexattr"]), name=attributes, follow=bools)
    def attribute(self, user, path, call, name, follow):
        self.call(user, call, path, name, follow)

    @rule(user=users, path=paths(), follow=bools)
    def listxattr(self, user, path, follow):
        self.call(user, "listxattr", path, follow)

    @rule(user=users, mask=one([0, 0o022, 0o027, 0o077]).map(Octal))
    def umask(self, user, mask):
        self.call(user, "umask", int(mask))


RandomCalls.parents = sys.argv[1:3]
random_lib.run(RandomCalls, sys.argv[3], int(sys.argv[4]))
