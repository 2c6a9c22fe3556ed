#!/usr/bin/env python3
"""calls_locks.py DIR: flock(), POSIX locks, and locks of open files."""

import signal

from calls_lib import *

# ---- locks ----


@test
def flock_between_processes():
    put("f")
    fd = opened("f")

    def try_lock(kind):
        def run():
            other = os.open("f", os.O_RDWR)
            try:
                fcntl.flock(other, kind | fcntl.LOCK_NB)
            except OSError as e:
                return e.errno
            return 0
        return run

    fcntl.flock(fd, fcntl.LOCK_SH)
    same(child_says(try_lock(fcntl.LOCK_SH)), 0)
    same(child_says(try_lock(fcntl.LOCK_EX)), errno.EWOULDBLOCK)
    fcntl.flock(fd, fcntl.LOCK_EX)
    same(child_says(try_lock(fcntl.LOCK_SH)), errno.EWOULDBLOCK)
    os.close(fd)
    same(child_says(try_lock(fcntl.LOCK_EX)), 0)


@test
def posix_locks_between_processes():
    put("f", b"x" * 100)
    fd = opened("f")
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
    fcntl.lockf(fd, fcntl.LOCK_SH, 10, 20)

    def try_lock(kind, size, start):
        def run():
            other = os.open("f", os.O_RDWR)
            try:
                fcntl.lockf(other, kind | fcntl.LOCK_NB, size, start)
            except OSError as e:
                return e.errno
            return 0
        return run

    same(child_says(try_lock(fcntl.LOCK_EX, 5, 5)), errno.EAGAIN)
    same(child_says(try_lock(fcntl.LOCK_EX, 10, 10)), 0)
    same(child_says(try_lock(fcntl.LOCK_SH, 10, 20)), 0)
    same(child_says(try_lock(fcntl.LOCK_EX, 0, 15)), errno.EAGAIN)

    def who():
        other = os.open("f", os.O_RDWR)
        lk = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
        kind, _, start, size, pid = struct.unpack("hhqqi4x", fcntl.fcntl(other, fcntl.F_GETLK, lk))
        return int((kind, start, size, pid) == (fcntl.F_WRLCK, 0, 10, os.getppid()))

    same(child_says(who), 1, "F_GETLK")
    os.close(os.open("f", os.O_RDONLY))  # closing any descriptor gives all locks up
    same(child_says(try_lock(fcntl.LOCK_EX, 0, 0)), 0)
    os.close(fd)


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
