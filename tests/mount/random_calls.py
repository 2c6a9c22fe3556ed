#!/usr/bin/env python3
"""random_calls.py A B SEED COUNT: the same random calls in two directories, by four users, and
every answer and what is then to be seen compared: errno, data, attributes, which times changed.

B is on an ext4 mounted with relatime, the reference; A on a mount with `relatime`. Run by
heavy_random.sh, as root. Prints a line for each difference, behind the calls that led to it, and
exits with 1; the same seed makes the same calls."""

import collections
import errno
import hashlib
import mmap
import os
import pickle
import random
import socket
import stat
import sys
import time

from calls_lib import (EXCHANGE, KEEP_SIZE, NOREPLACE, PUNCH, UTIME_NOW, UTIME_OMIT, ZERO, copy_range,
                       fallocate, libc, link_open, renameat2, tick, utimensat)

USERS = [(0, 0, ()), (1000, 1000, (2000,)), (1001, 1001, (2000, 1000)), (65534, 65534, ())]
NAMES = ["a", "b", "c", "d"]
DEPTH = 3
PATHS = [""]
for _ in range(DEPTH):
    PATHS += [os.path.join(p, n) for p in PATHS if p.count("/") == _ - 1 or not _ for n in NAMES]
PATHS = sorted(set(PATHS) - {""}, key=lambda p: (p.count("/"), p))
SLOTS = 5
XATTRS = ["user.x", "user.y", "trusted.t", "security.s"]


# ---- what a user can do; each returns what is to be the same ----


def no_fifo(fd):
    """What goes through a fifo sets its times on ext4; FUSE does not hear of it."""
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ESPIPE, "a fifo")
    return fd


def at_end(fd, offset):
    """Reading there sets atime on ext4; the kernel does not ask FUSE. Nor does it for what it
    has cached since a file was opened: that is dropped here."""
    s = os.fstat(fd)
    if stat.S_ISREG(s.st_mode):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return stat.S_ISREG(s.st_mode) and offset >= s.st_size


class Calls:
    """One user's calls in one directory, which is the current one; `fds` are his, by slot."""

    def __init__(self):
        self.fds = {}

    def fd(self, slot):
        if slot not in self.fds:
            raise OSError(errno.EBADF, "slot")
        return self.fds[slot]

    def open(self, slot, path, flags, mode):
        self.close(slot, True)
        self.fds[slot] = no_fifo(os.open(path, flags | os.O_NONBLOCK, mode))

    def close(self, slot, quietly=False):
        if slot in self.fds:
            os.close(self.fds.pop(slot))
        elif not quietly:
            raise OSError(errno.EBADF, "slot")

    def read(self, slot, n):
        fd = self.fd(slot)
        return b"" if at_end(fd, os.lseek(fd, 0, os.SEEK_CUR)) else os.read(fd, n)

    def pread(self, slot, n, offset):
        fd = self.fd(slot)
        return b"" if at_end(fd, offset) else os.pread(fd, n, offset)

    def write(self, slot, data):
        return os.write(self.fd(slot), data)

    def pwrite(self, slot, data, offset):
        return os.pwrite(self.fd(slot), data, offset)

    def seek(self, slot, offset, whence):
        fd = self.fd(slot)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            return None  # where the end of a directory is, is each one's own
        return os.lseek(fd, offset, whence)

    def ftruncate(self, slot, size):
        os.ftruncate(self.fd(slot), size)

    def fallocate(self, slot, mode, offset, size):
        fallocate(self.fd(slot), mode, offset, size)

    def copy(self, slot, to, size, offset, to_offset):
        return copy_range(self.fd(slot), self.fd(to), size, offset, to_offset)

    def map(self, slot, offset, data):
        at_end(self.fd(slot), 0)
        with mmap.mmap(self.fd(slot), 0) as m:
            if offset + len(data) <= len(m):
                m[offset:offset + len(data)] = data
                m.flush()
            return m[:]

    def fstat(self, slot):
        return seen(os.fstat(self.fd(slot)))

    def fchmod(self, slot, mode):
        os.fchmod(self.fd(slot), mode)

    def fchown(self, slot, uid, gid):
        os.fchown(self.fd(slot), uid, gid)

    def futime(self, slot, ns):
        os.utime(self.fd(slot), ns=ns)

    def fsync(self, slot):
        os.fsync(self.fd(slot))

    def flistdir(self, slot):
        return sorted(os.listdir(self.fd(slot)))

    def at(self, call, slot, *args):
        """A call below an open directory."""
        kw = {"src_dir_fd" if call in ("rename", "link") else "dir_fd": self.fd(slot)}
        return getattr(os, call)(*args, **kw) and None

    def link_open(self, slot, path):
        link_open(self.fd(slot), path)

    def truncate(self, path, size):
        os.truncate(path, size)

    def get(self, path):
        fd = no_fifo(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        try:
            return b"" if at_end(fd, 0) else os.read(fd, 300000)
        finally:
            os.close(fd)

    def put(self, path, data, mode):
        fd = no_fifo(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, mode))
        try:
            return os.write(fd, data)
        finally:
            os.close(fd)

    def stat(self, path):
        return seen(os.stat(path))

    def access(self, path, mode):
        return os.access(path, mode)

    def listdir(self, path):
        return sorted(os.listdir(path))

    def mkdir(self, path, mode):
        os.mkdir(path, mode)

    def rmdir(self, path):
        os.rmdir(path)

    def unlink(self, path):
        os.unlink(path)

    def rename(self, path, to):
        os.rename(path, to)

    def renameat2(self, path, to, flags):
        renameat2(path, to, flags)

    def link(self, path, to, follow):
        os.link(path, to, follow_symlinks=follow)

    def symlink(self, target, path):
        os.symlink(target, path)

    def readlink(self, path):
        return os.readlink(path)

    def mknod(self, path, mode, dev):
        os.mknod(path, mode, dev)

    def bind(self, path):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)

    def chmod(self, path, mode):
        os.chmod(path, mode)

    def chown(self, path, uid, gid, follow):
        os.chown(path, uid, gid, follow_symlinks=follow)

    def utimensat(self, path, atime, mtime, flags):
        utimensat(path, atime, mtime, flags)

    def setxattr(self, path, name, value, flags, follow):
        os.setxattr(path, name, value, flags, follow_symlinks=follow)

    def getxattr(self, path, name, follow):
        return os.getxattr(path, name, follow_symlinks=follow)

    def removexattr(self, path, name, follow):
        os.removexattr(path, name, follow_symlinks=follow)

    def listxattr(self, path, follow):
        return sorted(os.listxattr(path, follow_symlinks=follow))

    def umask(self, mask):
        os.umask(mask)


# ---- which calls ----


def some_path(r, there):
    """Most often one that is there."""
    p = r.choice(there) if there and r.random() < 0.6 else r.choice(PATHS[:20] * 4 + PATHS)
    k = r.random()
    if k < 0.03:
        p += r.choice(["/", "/.", "/..", "//", "/none", "/../a"])
    elif k < 0.04:
        p = r.choice([".", "..", "", "n" * 256, "./" * 10 + "a"])
    return "escaped" if p.startswith("..") else p


def some_data(r):
    return bytes([r.randrange(1, 256)]) * r.choice([0, 1, 5, 100, 2000, 2048, 2049, 4096, 9000, 140000])


def some_offset(r):
    return r.choice([0, 1, 100, 2047, 2048, 4095, 4096, 10000, 131072, 200000])


def some_time(r):
    return r.choice([(0, UTIME_NOW), (0, UTIME_OMIT), (0, 0), (5, 6), (-7, 8), (10**9, 999999999),
                     (0, 10**9), (-1 << 40, 1), (1 << 40, 1), (5000000000, 1)])


def some_mode(r):
    if r.random() < 0.4:
        return 0o777
    return r.choice([0, 0o600, 0o644, 0o664, 0o666, 0o755, 0o4755, 0o2755, 0o2745, 0o6777, 0o1777,
                     0o2775, 0o2777, 0o711, 0o070, 0o007, 0o400])


def some_id(r):
    return r.choice([-1, 0, 1000, 1001, 2000, 65534])


def some_flags(r):
    f = r.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
    for flag, p in ((os.O_CREAT, 0.5), (os.O_EXCL, 0.1), (os.O_TRUNC, 0.15), (os.O_APPEND, 0.15),
                    (os.O_NOFOLLOW, 0.1), (os.O_DIRECTORY, 0.05), (os.O_SYNC, 0.05),
                    (os.O_NOATIME, 0.05), (os.O_PATH, 0.03)):
        if r.random() < p:
            f |= flag
    # Not refused before Linux 6.3, and meaningless.
    return f & ~os.O_CREAT if f & os.O_DIRECTORY else f


def some_call(r, there, slots):
    """`there`: the paths there are; `slots`: the user's that are open."""
    path, k = some_path(r, there), r.randrange
    slot = r.choice(slots) if slots and r.random() < 0.9 else k(SLOTS)
    makers = [
        (8, lambda: ("open", k(SLOTS), path, some_flags(r), some_mode(r))),
        (2, lambda: ("close", slot)),
        (3, lambda: ("read", slot, r.choice([0, 1, 100, 5000, 200000]))),
        (2, lambda: ("pread", slot, r.choice([1, 5000]), some_offset(r))),
        (4, lambda: ("write", slot, some_data(r))),
        (4, lambda: ("pwrite", slot, some_data(r), some_offset(r))),
        (1, lambda: ("seek", slot, some_offset(r), k(3))),
        (2, lambda: ("ftruncate", slot, some_offset(r))),
        (2, lambda: ("fallocate", slot, r.choice([0, KEEP_SIZE, PUNCH | KEEP_SIZE, ZERO, ZERO | KEEP_SIZE,
                                                  PUNCH]), some_offset(r), some_offset(r))),
        (2, lambda: ("copy", slot, r.choice(slots or [0]), some_offset(r), some_offset(r), some_offset(r))),
        (2, lambda: ("map", slot, some_offset(r), b"map")),
        (2, lambda: ("fstat", slot)),
        (1, lambda: ("fchmod", slot, some_mode(r))),
        (1, lambda: ("fchown", slot, some_id(r), some_id(r))),
        (1, lambda: ("futime", slot, (k(1000), k(1000)))),
        (1, lambda: ("fsync", slot)),
        (1, lambda: ("flistdir", slot)),
        (1, lambda: ("at", r.choice(["mkdir", "rmdir", "unlink"]), slot, r.choice(NAMES))),
        (1, lambda: ("at", "rename", slot, r.choice(NAMES), path)),
        (1, lambda: ("link_open", slot, path)),
        (2, lambda: ("truncate", path, some_offset(r))),
        (5, lambda: ("get", path)),
        (5, lambda: ("put", path, some_data(r), some_mode(r))),
        (3, lambda: ("stat", path)),
        (3, lambda: ("access", path, k(8))),
        (4, lambda: ("listdir", path)),
        (8, lambda: ("mkdir", path, some_mode(r))),
        (2, lambda: ("rmdir", path)),
        (3, lambda: ("unlink", path)),
        (8, lambda: ("rename", path, some_path(r, there))),
        (3, lambda: ("renameat2", path, some_path(r, there), r.choice([NOREPLACE, EXCHANGE, EXCHANGE, 3]))),
        (5, lambda: ("link", path, some_path(r, there), k(2) > 0)),
        (3, lambda: ("symlink", r.choice(["a", "../a", "b/c", "d", "none", ".", "l" * 300]), path)),
        (3, lambda: ("readlink", path)),
        (2, lambda: ("mknod", path, r.choice([stat.S_IFIFO, stat.S_IFREG, stat.S_IFCHR, stat.S_IFSOCK]) |
                     (some_mode(r) & 0o777), os.makedev(1, 3))),
        (1, lambda: ("bind", path)),
        (8, lambda: ("chmod", path, some_mode(r))),
        (5, lambda: ("chown", path, some_id(r), some_id(r), k(2) > 0)),
        (4, lambda: ("utimensat", path, some_time(r), some_time(r), k(2) * 0x100)),
        (3, lambda: ("setxattr", path, r.choice(XATTRS), b"v" * k(50), r.choice([0, 0, 1, 2]), k(2) > 0)),
        (2, lambda: ("getxattr", path, r.choice(XATTRS), k(2) > 0)),
        (1, lambda: ("removexattr", path, r.choice(XATTRS), k(2) > 0)),
        (2, lambda: ("listxattr", path, k(2) > 0)),
        (1, lambda: ("umask", r.choice([0, 0o022, 0o027, 0o077]))),
    ]
    return r.choices([m for _, m in makers], [w for w, _ in makers])[0]()


# ---- one user in one directory, in a process of his own ----


def seen(s):
    """What two filesystems have to have in common of a stat()."""
    size = s.st_size if not stat.S_ISDIR(s.st_mode) else 0
    return oct(s.st_mode), s.st_nlink, s.st_uid, s.st_gid, size, s.st_rdev


def serve(conn, directory, user):
    uid, gid, groups = user
    os.chdir(directory)
    os.umask(0o022)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    libc.prctl(4, 1, 0, 0, 0)  # dumpable, or its /proc/self/fd is root's
    calls = Calls()
    while True:
        call = conn.recv(100 << 20)
        if not call:
            os._exit(0)
        name, *args = pickle.loads(call)
        try:
            answer = getattr(calls, name)(*args)
        except OSError as e:
            answer = errno.errorcode.get(e.errno, e.errno)
        except ValueError:  # mmap of nothing
            answer = "ValueError"
        if isinstance(answer, bytes) and len(answer) > 64:
            answer = len(answer), hashlib.sha256(answer).hexdigest()
        conn.send(pickle.dumps(answer))




def start(directory, user):
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not os.fork():
        here.close()
        serve(there, directory, user)
    there.close()
    return here


# ---- comparing ----


def look(directory):
    """The whole tree as root sees it, without touching an atime."""
    out = {}
    for p in ["."] + PATHS:
        parent = p.rpartition("/")[0] or "."
        if p != "." and (parent not in out or not stat.S_ISDIR(int(out[parent][0][0], 8))):
            continue
        try:
            s = os.lstat(os.path.join(directory, p))
        except OSError:
            continue
        out[p] = seen(s), (s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns), s.st_ino
    return out


def times_seen(new, old):
    """Each time: unchanged, now, or what it was set to."""
    now = time.time_ns()
    out = []
    for i, t in enumerate(new[1]):
        if abs(t - now) > 10**12:
            out.append(t)
        else:
            out.append("same" if old and old[2] == new[2] and old[1][i] == t else "now")
    return out


def contents(directory, tree):
    out = {}
    for p, (s, _, _) in tree.items():
        if stat.S_ISREG(int(s[0], 8)):
            fd = os.open(os.path.join(directory, p), os.O_RDONLY | os.O_NOATIME)
            out[p] = os.read(fd, 1 << 20)
            os.close(fd)
        if not stat.S_ISLNK(int(s[0], 8)):
            q = os.path.join(directory, p)
            out[p, "xattrs"] = sorted((n, os.getxattr(q, n)) for n in os.listxattr(q))
    return out


def differences(before, after):
    a, b = after
    for p in sorted(set(a) | set(b)):
        if p not in a or p not in b:
            yield f"{p} is not in {'A' if p in b else 'B'}"
        elif a[p][0] != b[p][0]:
            yield f"{p}: {a[p][0]} in A, {b[p][0]} in B"
        else:
            ta, tb = (times_seen(x[p], y.get(p)) for x, y in zip(after, before))
            if ta != tb:
                yield f"{p} {a[p][0]}: atime, mtime, ctime {ta} in A, {tb} in B"


# chown() to nobody by a stranger: the kernel passes it on to FUSE as a write's wish.
def known(user, call, answers):
    return call[0] in ("chown", "fchown") and user[0] and answers[1] == "EPERM" and \
        -1 in call[-2:] and call[2:4] == (-1, -1)


def main():
    # A folder within, so that "../a" is not something else.
    roots, seed, count = [d + "/in" for d in sys.argv[1:3]], sys.argv[3], int(sys.argv[4])
    for d in roots:
        os.mkdir(d)
        os.chmod(d, 0o777)
    r = random.Random(seed)
    servers = {(i, u): start(d, u) for i, d in enumerate(roots) for u in USERS}
    slots = {u: set() for u in USERS}
    log = collections.deque(maxlen=25)
    trees = [look(d) for d in roots]
    answered = collections.Counter()
    for n in range(count):
        user = r.choice(USERS + USERS[:1] * 2)
        call = some_call(r, sorted(set(trees[1]) - {"."}), sorted(slots[user]))
        tick()
        answers = []
        for i in (0, 1):
            servers[i, user].send(pickle.dumps(call))
            answers.append(pickle.loads(servers[i, user].recv(100 << 20)))
        if call[0] in ("open", "close"):
            slots[user].discard(call[1])
            if call[0] == "open" and answers[1] is None:
                slots[user].add(call[1])
        log.append(f"{n}: {user[0]} {call!r:.150} -> {answers[0]!r:.100}")
        answered[call[0], "failed" if isinstance(answers[0], str) and answers[0][:1] == "E" else "done"] += 1
        now = [look(d) for d in roots]
        found = list(differences(trees, now))
        if answers[0] != answers[1] and not known(user, call, answers):
            found.append(f"answers: {answers[0]!r:.300} in A, {answers[1]!r:.300} in B")
        trees = now
        if n % 50 == 49 or n == count - 1:
            a, b = (contents(d, t) for d, t in zip(roots, trees))
            found += [f"content of {k}" for k in set(a) | set(b) if a.get(k) != b.get(k)]
        if found:
            print(*log, *(f"DIFFERENT: {f}" for f in found), sep="\n")
            sys.exit(1)
    for s in servers.values():
        s.close()
    if os.environ.get("RANDOM_VERBOSE"):
        print(sorted(answered.items()))
    print(f"{count} calls, {sum(v for k, v in answered.items() if k[1] == 'done')} of them done")


main()
