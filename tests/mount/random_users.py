"""random_users.py: the users of random_calls.py, and the visible state after their calls.

Each user has a process in each of the two directories, which makes his calls there."""

import errno
import hashlib
import mmap
import os
import pickle
import socket
import stat
import time

from calls_lib import copy_range, fallocate, libc, link_open, renameat2, utimensat

USERS = {0: (0, ()), 1000: (1000, (2000,)), 1001: (1001, (2000, 1000)), 65534: (65534, ())}


# ---- what a user can do; each returns what is to be the same ----


def no_fifo(fd):
    """Reading and writing a fifo sets its times on ext4. The kernel does not report that to FUSE."""
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ESPIPE, "a fifo")
    return fd


def at_end(fd, offset):
    """Reading at the end of a file sets atime on ext4, but the kernel does not report it to FUSE. It
    does not report reading cached data either, so the cache is dropped here."""
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
        """Never at the end of a file: that sets atime on ext4, and not on Varve."""
        source = self.fd(slot)
        status = os.fstat(source)
        if stat.S_ISREG(status.st_mode):
            size = min(size, max(0, status.st_size - offset))
        if not size:
            return os.copy_file_range(source, self.fd(to), 0, offset, to_offset)
        return copy_range(source, self.fd(to), size, offset, to_offset)

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


# ---- one user in one directory, in a process of his own ----


def seen(s):
    """The part of a stat() that has to be the same on two filesystems."""
    size = s.st_size if not stat.S_ISDIR(s.st_mode) else 0
    return oct(s.st_mode), s.st_nlink, s.st_uid, s.st_gid, size, s.st_rdev


def serve(conn, directory, uid):
    gid, groups = USERS[uid]
    os.chdir(directory)
    os.umask(0)
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



class User:
    """A process of user `uid` in `directory`."""

    def __init__(self, directory, uid):
        self.conn, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if not self.pid:
            self.conn.close()
            serve(there, directory, uid)
        there.close()

    def call(self, name, *args):
        """Make the call. Returns its result, or the name of the error."""
        self.conn.send(pickle.dumps((name, *args)))
        return pickle.loads(self.conn.recv(100 << 20))

    def end(self):
        self.conn.send(b"")  # closing is not enough: users started later have it too
        self.conn.close()
        os.waitpid(self.pid, 0)


# ---- comparing ----


def look(directory, paths):
    """Those of `paths` that exist, as root sees them, without setting an atime."""
    out = {}
    for p in ["."] + paths:
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
            out.append("same" if old and old[1][i] == t else "now")
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
    # By inode, as a file may have a new name.
    before = [{s[2]: s for s in tree.values()} for tree in before]
    for p in sorted(set(a) | set(b)):
        if p not in a or p not in b:
            yield f"{p} is not in {'A' if p in b else 'B'}"
        elif a[p][0] != b[p][0]:
            yield f"{p}: {a[p][0]} in A, {b[p][0]} in B"
        else:
            ta, tb = (times_seen(x[p], y.get(x[p][2])) for x, y in zip(after, before))
            if ta != tb:
                yield f"{p} {a[p][0]}: atime, mtime, ctime {ta} in A, {tb} in B"
