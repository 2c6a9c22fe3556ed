#!/usr/bin/env python3
"""calls_atime.py DIR: what sets the time of the last access, on a mount with the option that
CALLS_ATIME names: relatime, strictatime or noatime. Also of files that are cached."""

from calls_lib import *

MODE = os.environ.get("CALLS_ATIME", "relatime")


def accesses(path, fn, due, what):
    """Does fn set atime of `path`, as it has to? `due`: with relatime."""
    before = times(path)[0]
    tick()
    fn()
    now = times(path)[0]
    same(now != before, {"relatime": due, "strictatime": True, "noatime": False}[MODE], what)
    assert now == before or abs(now - time.time_ns()) < 60 * 10**9, what


def never(path, fn, what):
    before = times(path)[0]
    tick()
    fn()
    same(times(path)[0], before, what)


def append(path, data):
    with open(path, "ab") as f:
        f.write(data)


def read_by(path, flags, fn):
    fd = os.open(path, os.O_RDONLY | flags)
    fn(fd)
    os.close(fd)


def map_and_read(path):
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        return m[len(m) - 1]


@test
def reading_after_each_kind_of_change():
    """Each time whole pages are in the kernel's cache, from writing or from the last reading."""
    for size in (5, 4096, 1 << 20):
        tick()
        put("f", b"x" * size)
        accesses("f", lambda: get("f"), True, f"{size}: written")
        accesses("f", lambda: get("f"), False, f"{size}: again")
        for what, change in {
            "appended": lambda: append("f", b"y" * 4096),
            "overwritten": lambda: os.close(rewrite("f")),
            "chmod": lambda: os.chmod("f", 0o600),
            "chown": lambda: os.chown("f", 0, 0),
            "xattr": lambda: os.setxattr("f", "user.a", b"1"),
            "truncated": lambda: os.truncate("f", size),
            "linked": lambda: os.link("f", "other"),
            "unlinked": lambda: os.unlink("other"),
            "renamed": lambda: os.rename("f", "g") or os.rename("g", "f"),
            "mtime": lambda: os.utime("f", ns=(times("f")[0], time.time_ns() + 10**9)),
        }.items():
            tick()
            change()
            accesses("f", lambda: get("f"), True, f"{size}: {what}")
            if what != "mtime":
                accesses("f", lambda: get("f"), False, f"{size}: {what}, again")
        os.unlink("f")


def rewrite(path):
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, b"z" * 3, 1)
    return fd


@test
def an_old_access():
    day = 86400 * 10**9
    put("f", b"x" * 8192)
    get("f")
    now = time.time_ns()
    libc.sync()
    # ctime is now, so it is the change that counts: there is no other way to an old atime.
    os.utime("f", ns=(now + day, now - 3 * day))
    accesses("f", lambda: get("f"), False, "a time to come is no reason")
    os.utime("f", ns=(now - 2 * day, now - 3 * day))
    accesses("f", lambda: get("f"), True, "two days ago")


@test
def ways_of_reading():
    for what, fn in {
        "read": get,
        "pread of a part": lambda p: read_by(p, 0, lambda fd: os.pread(fd, 10, 5000)),
        "direct": lambda p: read_by(p, os.O_DIRECT,
                                    lambda fd: os.preadv(fd, [mmap.mmap(-1, 4096)], 0)),
        "mapping": map_and_read,
        "copy_file_range": lambda p: read_by(
            p, 0, lambda fd: os.copy_file_range(fd, null, 8192, 0, 0)),
        "sendfile": lambda p: read_by(p, 0, lambda fd: os.sendfile(null, fd, 0, 4096)),
    }.items():
        tick()
        put("f", b"x" * 8192)
        null = os.open("sink", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        accesses("f", lambda: fn("f"), True, what)
        os.close(null)
    os.chmod("f", 0o644)
    for what, fn in {
        "stat": os.stat,
        "open": lambda p: read_by(p, 0, lambda fd: None),
        "seek": lambda p: read_by(p, 0, lambda fd: os.lseek(fd, 0, os.SEEK_DATA)),
        "writing": lambda p: append(p, b"x"),
        "O_NOATIME": lambda p: read_by(p, os.O_NOATIME, lambda fd: os.read(fd, 100)),
        "O_NOATIME, cold": lambda p: read_by(p, os.O_NOATIME | os.O_DIRECT,
                                             lambda fd: os.preadv(fd, [mmap.mmap(-1, 4096)], 0)),
    }.items():
        never("f", lambda: fn("f"), what)
    accesses("f", lambda: get("f"), True, "due all the while")


@test
def directories_and_links():
    os.mkdir("d")
    put("d/a")
    tick()
    accesses("d", lambda: os.listdir("d"), True, "a new name")
    accesses("d", lambda: os.listdir("d"), False, "again")
    os.chmod("d", 0o700)
    accesses("d", lambda: os.listdir("d"), True, "a new mode")
    never("d", lambda: os.stat("d/a"), "looking a name up")
    os.symlink("d", "l")
    tick()
    accesses("l", lambda: os.readlink("l"), True, "readlink")
    accesses("l", lambda: os.readlink("l"), False, "again")
    os.rename("l", "m")
    accesses("m", lambda: os.readlink("m"), True, "renamed")
    os.rename("m", "l")
    accesses("l", lambda: os.stat("l/a"), True, "followed")
    never("l", lambda: os.lstat("l"), "lstat")


@test
def one_who_has_it_open():
    """A process with the file open or mapped does not notice that the cache was dropped."""
    put("f", b"." * 100000)
    fd = opened("f")
    m = mmap.mmap(fd, 100000)
    m[5:8] = b"abc"
    os.pwrite(fd, b"def", 50000)
    same(get("f")[4:9], b".abc.")
    same((m[50000:50003], get("f")[50000:50003]), (b"def",) * 2)
    m[6:7] = b"X"
    os.chmod("f", 0o600)
    same(get("f")[4:9], b".aXc.")
    os.pwrite(fd, b"Y", 7)
    same((m[4:9], get("f")[4:9]), (b".aXY.",) * 2)
    m.close()
    os.close(fd)


main()
