#!/usr/bin/env python3
"""calls_data.py DIR: mappings at the end of a file, limits of size, and locks."""

import resource
import signal

from calls_lib import *

PAGE = mmap.PAGESIZE


def killed_by(fn):
    """The signal that ends fn in a child; 0 if none does."""
    pid = os.fork()
    if not pid:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        fn()
        os._exit(0)
    return -os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# ---- mappings ----


@test
def beyond_the_end_of_a_mapping():
    fd = opened("f")
    os.pwrite(fd, b"x" * (PAGE + 100), 0)
    m = mmap.mmap(fd, 0)
    os.ftruncate(fd, 3 * PAGE)
    big = mmap.mmap(fd, 3 * PAGE)
    os.ftruncate(fd, PAGE + 100)
    same(big[PAGE + 90:PAGE + 110], b"x" * 10 + bytes(10), "zeros in the last page")
    big[PAGE + 200:PAGE + 205] = b"never"
    same(killed_by(lambda: big[2 * PAGE]), signal.SIGBUS)
    same(killed_by(lambda: big.__setitem__(2 * PAGE, 1)), signal.SIGBUS)
    os.ftruncate(fd, 3 * PAGE)
    same(big[PAGE + 200:PAGE + 205], bytes(5), "what was written beyond the end is not there")
    same(killed_by(lambda: big[2 * PAGE]), 0)
    os.ftruncate(fd, 0)
    same(killed_by(lambda: m[0]), signal.SIGBUS)
    big.close()
    m.close()
    os.close(fd)


@test
def mappings_of_several():
    """Shared by processes, seen by all; private, seen by none; kept when the file is gone."""
    put("f", b"." * (4 * PAGE))
    fd = opened("f")
    m = mmap.mmap(fd, 0)
    p = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE)
    children(lambda: m.__setitem__(5, 65), lambda: p.__setitem__(6, 66))
    same((m[4:8], os.pread(fd, 4, 4), p[4:8]), (b".A..",) * 3)
    os.unlink("f")
    m[PAGE:PAGE + 3] = b"end"
    m.flush()
    same(os.pread(fd, 3, PAGE), b"end")
    os.close(fd)
    same((m[PAGE:PAGE + 3], p[PAGE:PAGE + 3]), (b"end",) * 2)
    fd = opened("ro")
    os.pwrite(fd, b"r" * PAGE, 0)
    ro = os.open("ro", os.O_RDONLY)
    fails(errno.EACCES, mmap.mmap, ro, 0)
    wo = os.open("ro", os.O_WRONLY)
    fails(errno.EACCES, mmap.mmap, wo, 0)
    with mmap.mmap(ro, 0, flags=mmap.MAP_PRIVATE) as c:
        c[0:1] = b"w"
    same(os.pread(fd, 1, 0), b"r")


# ---- limits ----


@test
def limit_of_file_size():
    """RLIMIT_FSIZE: what fits is written, then EFBIG and a signal."""
    def limited(fn):
        def run():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
            fn(opened("f", os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        children(run)

    limited(lambda fd: same(os.pwrite(fd, b"x" * 9000, 5000), 5000))
    limited(lambda fd: fails(errno.EFBIG, os.pwrite, fd, b"x", 10000))
    limited(lambda fd: fails(errno.EFBIG, os.ftruncate, fd, 10001))
    limited(lambda fd: fails(errno.EFBIG, fallocate, fd, 0, 0, 10001))
    limited(lambda fd: os.ftruncate(fd, 10000))

    def killed():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
        os.truncate("f", 10001)

    same(killed_by(killed), signal.SIGXFSZ)


@test
def offsets():
    fd = opened("f")
    for fn in (lambda: os.pread(fd, 1, -1), lambda: os.pwrite(fd, b"x", -1),
               lambda: os.lseek(fd, -1, os.SEEK_SET), lambda: os.lseek(fd, -1, os.SEEK_END)):
        fails(errno.EINVAL, fn)
    same((os.lseek(fd, 100, os.SEEK_END), os.read(fd, 5), os.fstat(fd).st_size), (100, b"", 0))
    os.write(fd, b"x")
    same((os.fstat(fd).st_size, os.lseek(fd, 0, os.SEEK_CUR)), (101, 101))
    same(os.writev(fd, [b"a", b"", b"bc"]), 3)
    same(os.preadv(fd, [bytearray(2), bytearray(9)], 101), 3)
    same(os.copy_file_range(fd, fd, 0, 0, 50), 0)
    os.close(fd)


# ---- locks ----


def try_posix(path, kind=fcntl.LOCK_EX, size=0, start=0):
    def run():
        fd = os.open(path, os.O_RDWR)
        try:
            fcntl.lockf(fd, kind | fcntl.LOCK_NB, size, start)
        except OSError as e:
            return e.errno
        return 0
    return child_says(run)


@test
def locks_of_open_files():
    """OFD locks: of the open file, not of the process, and gone with its last descriptor."""
    F_OFD_GETLK, F_OFD_SETLK = 36, 37

    def lock(fd, kind, start, size, cmd=F_OFD_SETLK):
        lk = struct.pack("hhqqi4x", kind, 0, start, size, 0)
        return struct.unpack("hhqqi4x", fcntl.fcntl(fd, cmd, lk))

    put("f", b"x" * 100)
    one, two = opened("f"), opened("f")
    lock(one, fcntl.F_WRLCK, 0, 10)
    fails(errno.EAGAIN, lock, two, fcntl.F_RDLCK, 5, 1)
    same(lock(two, fcntl.F_WRLCK, 0, 0, F_OFD_GETLK), (fcntl.F_WRLCK, 0, 0, 10, -1))
    same((try_posix("f", size=10), try_posix("f", start=10)), (errno.EAGAIN, 0))
    os.close(os.open("f", os.O_RDONLY))
    fails(errno.EAGAIN, lock, two, fcntl.F_RDLCK, 5, 1)
    copy = os.dup(one)
    os.close(one)
    fails(errno.EAGAIN, lock, two, fcntl.F_RDLCK, 5, 1)
    os.close(copy)
    lock(two, fcntl.F_RDLCK, 5, 1)
    os.close(two)


@test
def locks_end_with_their_owner():
    put("f", b"x" * 100)

    def holder(ready, take):
        fd = opened("f")
        take(fd)
        os.write(ready, b".")
        signal.pause()

    for take in (lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX), lambda fd: fcntl.flock(fd, fcntl.LOCK_EX)):
        r, w = os.pipe()
        pid = os.fork()
        if not pid:
            holder(w, take)
        os.read(r, 1)
        waiter = os.fork()
        if not waiter:  # waits, and gets it when the holder dies
            take(opened("f"))
            os._exit(0)
        time.sleep(0.05)
        same(os.waitpid(waiter, os.WNOHANG), (0, 0), "it waits")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        same(os.waitpid(waiter, 0)[1], 0)
        os.close(r)
        os.close(w)
    same(try_posix("f"), 0)


@test
def locks_of_parts():
    put("f", b"x" * 100)
    fd = opened("f")
    fcntl.lockf(fd, fcntl.LOCK_EX, 100, 0)
    fcntl.lockf(fd, fcntl.LOCK_UN, 20, 40)
    fcntl.lockf(fd, fcntl.LOCK_SH, 10, 0)
    same([try_posix("f", fcntl.LOCK_EX, 10, s) for s in (0, 10, 40, 50, 60)],
         [errno.EAGAIN, errno.EAGAIN, 0, 0, errno.EAGAIN])
    same(try_posix("f", fcntl.LOCK_SH, 10, 0), 0)
    fails(errno.EBADF, fcntl.lockf, os.open("f", os.O_RDONLY), fcntl.LOCK_EX)
    os.close(fd)


main()
