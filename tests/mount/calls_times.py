#!/usr/bin/env python3
"""calls_times.py DIR: which call sets which time of a file. A call may leave a time at any value if no
test says what it has to be."""

from calls_lib import *

@test
def times_of_files():
    put("f", b"x" * 100)
    fd = opened("f")
    rules = [
        ("write", "mc", lambda: os.pwrite(fd, b"y", 0)),
        ("write of nothing", "", lambda: os.pwrite(fd, b"", 0)),
        ("ftruncate", "mc", lambda: os.ftruncate(fd, 50)),
        ("ftruncate to its size", "mc", lambda: os.ftruncate(fd, 50)),
        ("truncate to its size", "mc", lambda: os.truncate("f", 50)),
        ("fallocate", "mc", lambda: fallocate(fd, 0, 0, 9000)),
        ("fallocate within", "mc", lambda: fallocate(fd, 0, 0, 5000)),
        ("fallocate KEEP_SIZE", "mc", lambda: fallocate(fd, KEEP_SIZE, 0, 50000)),
        ("punch", "mc", lambda: fallocate(fd, PUNCH | KEEP_SIZE, 0, 10)),
        ("zero", "mc", lambda: fallocate(fd, ZERO, 0, 10)),
        ("chmod", "c", lambda: os.chmod("f", 0o600)),
        ("chmod to the same", "c", lambda: os.chmod("f", 0o600)),
        ("chown", "c", lambda: os.chown("f", 1, 1)),
        ("chown to nobody else", "c", lambda: os.chown("f", 1, 1)),
        ("utime", "mc", lambda: os.utime("f", ns=(1, 2))),
        ("setxattr", "c", lambda: os.setxattr("f", "user.a", b"1")),
        ("setxattr to the same", "", lambda: os.setxattr("f", "user.a", b"1")),
        ("setxattr to another", "c", lambda: os.setxattr("f", "user.a", b"2")),
        ("removexattr", "c", lambda: os.removexattr("f", "user.a")),
        ("open for writing", "", lambda: os.close(os.open("f", os.O_WRONLY))),
        ("fsync", "", lambda: os.fsync(fd)),
        ("reading", "", lambda: os.pread(fd, 9, 0)),
    ]
    for what, want, fn in rules:
        # With the write-back cache the kernel keeps mtime and ctime, and sees these otherwise.
        if not (what in ("truncate to its size", "setxattr to the same") and
                os.environ.get("CALLS_WRITEBACK")):
            same(changed("f", fn), want, what)
    os.close(fd)


@test
def times_of_directories():
    os.mkdir("d")
    os.mkdir("e")
    rules = [
        ("create", "mc", lambda: put("d/a")),
        ("open of what is there", "", lambda: put("d/a")),
        ("mkdir", "mc", lambda: os.mkdir("d/s")),
        ("symlink", "mc", lambda: os.symlink("x", "d/l")),
        ("link", "mc", lambda: os.link("d/a", "d/b")),
        ("rename within", "mc", lambda: os.rename("d/a", "d/c")),
        ("rename away", "mc", lambda: os.rename("d/c", "e/c")),
        ("rename back", "mc", lambda: os.rename("e/c", "d/c")),
        ("unlink", "mc", lambda: os.unlink("d/c")),
        ("rmdir", "mc", lambda: os.rmdir("d/s")),
        ("a change below it", "", lambda: put("d/b", b"x")),
        ("failing", "", lambda: fails(errno.EEXIST, os.mkdir, "d/b")),
    ]
    for what, want, fn in rules:
        same(changed("d", fn), want, what)
    os.mkdir("d/m")
    before = times("d/m")
    tick()
    os.rename("d/m", "e/m")
    after = times("e/m")
    same((after[1] == before[1], after[2] > before[2]), (True, True), "a moved directory")


@test
def times_of_names():
    """Each operation on names: which of atime, mtime and ctime of what it changes."""
    def prepare():
        os.mkdir("r")
        os.chdir("r")
        for d in ("p", "q", "p/d", "p/full", "p/full/x", "q/d", "q/empty"):
            os.mkdir(d)
        for f in ("p/f", "q/f"):
            put(f, b"1")
        os.link("p/f", "p/f2")
        os.symlink("f", "p/l")

    rules = [
        ("create", lambda: put("p/new"), {"p": "mc"}),
        ("mkdir", lambda: os.mkdir("p/new"), {"p": "mc"}),
        ("mknod", lambda: os.mkfifo("p/new"), {"p": "mc"}),
        ("symlink", lambda: os.symlink("x", "p/new"), {"p": "mc"}),
        ("link", lambda: os.link("p/f", "q/new"), {"q": "mc", "p/f": "c"}),
        ("unlink one of two", lambda: os.unlink("p/f2"), {"p": "mc", "p/f": "c"}),
        ("rmdir", lambda: os.rmdir("q/empty"), {"q": "mc"}),
        ("rename a file away", lambda: os.rename("p/f", "q/new"),
         {"p": "mc", "q": "mc", "p/f2": "c"}),
        ("rename over a file", lambda: os.rename("q/f", "p/f"), {"p": "mc", "q": "mc", "p/f2": "c"}),
        ("rename a directory over one", lambda: os.rename("p/full", "q/empty"),
         {"p": "mc", "q": "mc", "p/d": ""}),
        ("rename within", lambda: os.rename("p/f", "p/new"), {"p": "mc", "p/f2": "c", "q": ""}),
        ("rename to the same file", lambda: os.rename("p/f", "p/f2"), {"p": "", "p/f": ""}),
        ("exchange", lambda: renameat2("p/f", "q/d", EXCHANGE), {"p": "mc", "q": "mc", "p/f2": "c"}),
        ("exchange within", lambda: renameat2("p/f", "p/d", EXCHANGE), {"p": "mc", "p/f2": "c"}),
        ("NOREPLACE refused", lambda: fails(errno.EEXIST, renameat2, "p/f", "q/f", NOREPLACE),
         {"p": "", "q": "", "p/f": "", "q/f": ""}),
        ("rmdir refused", lambda: fails(errno.ENOTEMPTY, os.rmdir, "p/full"), {"p": "", "p/full": ""}),
        ("rename refused", lambda: fails(errno.ENOTEMPTY, os.rename, "q/empty", "p/full"),
         {"p": "", "q": "", "q/empty": "", "p/full": ""}),
        ("chown of a link", lambda: os.chown("p/l", 1, 1, follow_symlinks=False),
         {"p": "", "p/l": "c", "p/f": ""}),
        ("utime of a directory", lambda: os.utime("p"), {"p": "amc", "p/f": ""}),
        ("access, stat and open", lambda: (os.access("p/f", 7), os.stat("p/l"), os.close(
            os.open("p/f", os.O_RDWR))), {"p": "", "p/f": "", "q": ""}),
    ]
    for what, fn, want in rules:
        prepare()
        before = {p: times(p) for p in want}
        tick()
        fn()
        got = {p: "".join(n for n, x, y in zip("amc", times(p), before[p]) if x != y) for p in want}
        os.chdir("..")
        os.rename("r", "done " + what)
        same(got, want, what)


@test
def who_may_set_times():
    os.chmod(".", 0o755)
    NOW, OMIT, ONE = (0, UTIME_NOW), (0, UTIME_OMIT), (1, 0)
    for mode, uid, want in (
            (0o600, 1000, ["ok", "EPERM", "EPERM", "EACCES", "ok"]),  # a stranger
            (0o606, 1000, ["ok", "EPERM", "EPERM", "ok", "ok"]),  # ... who may write
            (0o000, 65534, ["ok", "ok", "ok", "ok", "ok"])):  # the owner
        got = []

        def user():
            for atime, mtime in ((OMIT, OMIT), (ONE, ONE), (NOW, OMIT), (NOW, NOW), (OMIT, OMIT)):
                try:
                    utimensat("f", atime, mtime)
                    got.append("ok")
                except OSError as e:
                    got.append(errno.errorcode[e.errno])
            same(got, want, f"{mode:o} {uid}")

        put("f")
        os.chown("f", 65534, 65534)
        os.chmod("f", mode)
        as_user(user, uid=uid, gid=uid)
    fails(errno.EINVAL, utimensat, "f", (0, 10**9), (0, 0))
    fails(errno.EINVAL, utimensat, "f", (0, 0), (0, -1))


@test
def times_set():
    put("f")
    for ns in ((1, 999999999), (1234567890123456789, 987654321), (0, 0), (-1, -1500000000),
               (-(1 << 31) * 10**9, 4102444800 * 10**9 + 1)):
        os.utime("f", ns=ns)
        same(times("f")[:2], ns)
    first, last = -(1 << 31), (1 << 34) - (1 << 31) - 1  # of ext4: in 1901 and 2446
    for s, want in ((-(1 << 63), first), (first - 1, first), (last + 1, last), ((1 << 63) - 1, last)):
        utimensat("f", (s, 5), (s, 999999999))
        # The write-back cache shows an mtime as it was set until it forgets the file.
        n = 1 if os.environ.get("CALLS_WRITEBACK") else 2
        same(times("f")[:n], (want * 10**9,) * n, "beyond all")
    for s, ns in ((first, 0), (last, 0), (first + 1, 1), (last - 1, 999999999), (9223372037, 1)):
        utimensat("f", (s, ns), (s, ns))
        same(times("f")[:2], (s * 10**9 + ns,) * 2)
    os.utime("f", ns=(10, 20))
    c = times("f")[2]
    utimensat("f", (0, UTIME_OMIT), (0, UTIME_OMIT))
    same(times("f"), (10, 20, c), "both omitted: nothing happens")
    utimensat("f", (5, 6), (0, UTIME_OMIT))
    same(times("f")[:2], (5000000006, 20))
    utimensat("f", (0, UTIME_OMIT), (7, 8))
    same(times("f")[:2], (5000000006, 7000000008))
    now = time.time_ns()
    utimensat("f", (0, UTIME_NOW), (0, UTIME_OMIT))
    assert abs(times("f")[0] - now) < 5 * 10**9 and times("f")[1] == 7000000008
    utimensat("f", (0, UTIME_NOW), (0, UTIME_NOW))
    same(times("f")[0], times("f")[1])
    os.symlink("f", "l")
    m = times("f")
    utimensat("l", (1, 2), (3, 4), 0x100)
    same((times("l")[:2], times("f")), ((1000000002, 3000000004), m))
    os.chmod("f", 0o666)
    os.chmod(".", 0o755)

    def user():
        utimensat("f", (0, UTIME_NOW), (0, UTIME_NOW))
        fails(errno.EPERM, utimensat, "f", (1, 0), (1, 0))
        fails(errno.EPERM, utimensat, "f", (0, UTIME_NOW), (0, UTIME_OMIT))

    as_user(user)


@test
def atime_is_relative():
    put("f", b"x")
    os.utime("f", ns=(1, 2))
    tick()
    fd = os.open("f", os.O_RDONLY | os.O_DIRECT)
    os.preadv(fd, [mmap.mmap(-1, 4096)], 0)
    first = os.fstat(fd).st_atime_ns
    assert first > 2, "read after a change: atime is new"
    tick()
    os.preadv(fd, [mmap.mmap(-1, 4096)], 0)
    same(os.fstat(fd).st_atime_ns, first, "and stays, for a day")
    os.close(fd)


main()
