#!/usr/bin/env python3
"""calls.py DIR: the rules of single system calls, as ext4 and POSIX have them. Times may be
anything but what is said of them."""

from calls_lib import *

# ---- rename ----


@test
def renameat2_noreplace():
    put("a", b"a")
    put("b", b"b")
    fails(errno.EEXIST, renameat2, "a", "b", NOREPLACE)
    fails(errno.EEXIST, renameat2, "a", "a", NOREPLACE)
    fails(errno.ENOENT, renameat2, "none", "c", NOREPLACE)
    os.mkdir("d")
    fails(errno.EEXIST, renameat2, "a", "d", NOREPLACE)
    renameat2("a", "c", NOREPLACE)
    same(sorted(os.listdir()), ["b", "c", "d"])
    same(get("c"), b"a")


@test
def renameat2_exchange():
    os.makedirs("p/sub")
    put("p/sub/in", b"in")
    os.mkdir("q")
    put("q/file", b"file")
    inos = os.stat("p/sub").st_ino, os.stat("q/file").st_ino
    fails(errno.ENOENT, renameat2, "p/sub", "q/none", EXCHANGE)
    fails(errno.EINVAL, renameat2, "p/sub", "q/file", EXCHANGE | NOREPLACE)
    fails(errno.EINVAL, renameat2, "p", "p/sub", EXCHANGE)
    fails(errno.EINVAL, renameat2, "p/sub", "p", EXCHANGE)
    renameat2("p/sub", "q/file", EXCHANGE)
    same((os.stat("q/file").st_ino, os.stat("p/sub").st_ino), inos)
    same((os.stat("p").st_nlink, os.stat("q").st_nlink), (2, 3), "links")
    same(get("q/file/in"), b"in")
    same(os.stat("q/file/..").st_ino, os.stat("q").st_ino)
    renameat2("q", "p/sub", EXCHANGE)
    same(get("q"), b"file")
    same(get("p/sub/file/in"), b"in")
    same(os.listdir("p/sub"), ["file"])


@test
def rename_rules():
    os.makedirs("d/e/f")
    os.mkdir("empty")
    put("file", b"1")
    fails(errno.EINVAL, os.rename, "d", "d/e/f/g")
    fails(errno.EINVAL, os.rename, "d", "d/e")
    fails(errno.ENOTEMPTY, os.rename, "d/e/f", "d")
    fails(errno.ENOTEMPTY, os.rename, "empty", "d")
    fails(errno.EISDIR, os.rename, "file", "empty")
    fails(errno.ENOTDIR, os.rename, "empty", "file")
    fails(errno.ENOTDIR, os.rename, "empty", "file/x")
    fails(errno.ENOENT, os.rename, "file", "none/x")
    fails(errno.EBUSY, os.rename, "d/.", "x")
    os.rename("d/e", "empty")
    same(os.listdir("empty"), ["f"])
    same((os.stat("d").st_nlink, os.stat("empty").st_nlink), (2, 3))
    os.link("file", "other")
    os.rename("file", "other")  # two names of one file: nothing happens
    same((os.path.exists("file"), os.stat("other").st_nlink), (True, 2))
    before = os.stat("file").st_ctime_ns
    tick()
    os.rename("file", "moved")
    assert os.stat("moved").st_ctime_ns > before, "a rename is a change of the file"


@test
def rename_over_an_open_file():
    put("a", b"new")
    put("b", b"old")
    fd = opened("b")
    os.rename("a", "b")
    same((os.fstat(fd).st_nlink, os.read(fd, 9), get("b")), (0, b"old", b"new"))
    os.close(fd)


@test
def sticky_directory():
    os.mkdir("t")
    os.chmod("t", 0o1777)
    put("t/roots")
    as_user(lambda: put("t/mine"))
    as_user(lambda: put("t/yours"), uid=1000)

    def user():
        fails(errno.EPERM, os.unlink, "t/roots")
        fails(errno.EPERM, os.rename, "t/roots", "t/x")
        fails(errno.EPERM, os.rename, "t/mine", "t/yours")
        os.rename("t/mine", "t/still")
        os.unlink("t/still")

    os.chmod(".", 0o755)
    as_user(user)


# ---- links and names ----


@test
def hard_links():
    put("f", b"x")
    os.symlink("nowhere", "s")
    os.link("s", "s2", follow_symlinks=False)
    same((os.lstat("s2").st_nlink, os.readlink("s2")), (2, "nowhere"))
    same(os.lstat("s").st_ino, os.lstat("s2").st_ino)
    os.unlink("s")
    same((os.lstat("s2").st_nlink, os.readlink("s2")), (1, "nowhere"))
    os.mkfifo("p")
    os.link("p", "p2")
    same(os.stat("p2").st_nlink, 2)
    os.mkdir("d")
    fails(errno.EPERM, os.link, "d", "d2")
    fails(errno.EEXIST, os.link, "f", "s2")
    same(changed("f", lambda: os.link("f", "f2")), "c")
    same(changed("f", lambda: os.unlink("f2")), "c")
    same(os.stat("f").st_nlink, 1)


@test
def directory_links():
    os.mkdir("d")
    same(os.stat("d").st_nlink, 2)
    for i in range(5):
        os.mkdir(f"d/{i}")
        put(f"d/file{i}")
    same(os.stat("d").st_nlink, 7)
    os.rename("d/0", "0")
    os.rmdir("d/1")
    os.rename("d/2", "d/3")
    same(os.stat("d").st_nlink, 4)
    fails(errno.ENOTEMPTY, os.rmdir, "d")
    fails(errno.EINVAL, os.rmdir, "d/.")
    fails(errno.ENOTEMPTY, os.rmdir, "d/..")
    fails(errno.EISDIR, os.unlink, "d")
    fails(errno.ENOTDIR, os.rmdir, "d/file1")


@test
def open_flags():
    put("f", b"12345")
    os.symlink("f", "s")
    os.symlink("none", "dangling")
    os.mkdir("d")
    fails(errno.EEXIST, os.open, "f", os.O_CREAT | os.O_EXCL)
    fails(errno.EEXIST, os.open, "s", os.O_CREAT | os.O_EXCL)
    fails(errno.EEXIST, os.open, "dangling", os.O_CREAT | os.O_EXCL)
    fails(errno.ELOOP, os.open, "s", os.O_NOFOLLOW)
    fails(errno.ENOTDIR, os.open, "f", os.O_DIRECTORY)
    fails(errno.EISDIR, os.open, "d", os.O_WRONLY)
    fails(errno.EISDIR, os.open, "d", os.O_RDWR | os.O_CREAT)
    fails(errno.ENOTDIR, os.open, "f/x", os.O_RDONLY)
    os.close(os.open("dangling", os.O_CREAT | os.O_WRONLY))
    assert os.path.exists("none")
    same(changed("none", lambda: os.close(os.open("none", os.O_WRONLY | os.O_TRUNC))), "mc")
    os.close(os.open("f", os.O_WRONLY | os.O_TRUNC))
    same(os.stat("f").st_size, 0)
    fd = opened("m", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0)
    os.write(fd, b"mode 0")  # the mode is for the next one to open it
    os.close(fd)
    as_user(lambda: fails(errno.EACCES, os.open, "m", os.O_RDONLY))


@test
def names_and_paths():
    n = "n" * 255
    put(n)
    for fn in (os.stat, os.unlink, os.rmdir, os.mkdir, os.mkfifo):
        fails(errno.ENAMETOOLONG, fn, n + "n")
    fails(errno.ENAMETOOLONG, os.symlink, "x", n + "n")
    fails(errno.ENAMETOOLONG, os.rename, n, n + "n")
    fails(errno.ENAMETOOLONG, os.link, n, n + "n")
    fails(errno.ENAMETOOLONG, os.symlink, "t" * 4096, "l")
    os.symlink("t" * 4095, "l")
    same(os.readlink("l"), "t" * 4095)
    fails(errno.ENOENT, os.symlink, "", "empty")
    odd = [bytes([c]) for c in range(1, 256) if c not in (46, 47)]
    odd += [b"...", b" lead", b"trail ", b"-rf", b"\xff\xfe\xc0", b"new\nline", "\u00e9".encode(),
            "e\u0301".encode(), b"CASE", b"case", b"\x7f" * 255, b"*?[", b"a\\b"]
    os.mkdir("odd")
    for name in odd:
        put(b"odd/" + name, name)
    same(sorted(os.listdir(b"odd")), sorted(odd))
    for name in odd:
        same(get(b"odd/" + name), name)
    os.symlink("b", "a")
    os.symlink("a", "b")
    fails(errno.ELOOP, os.stat, "a")


@test
def unlinked_but_open():
    for size in (10, 100000):
        put("f", b"f" * size)
        fd = opened("f")
        os.unlink("f")
        fails(errno.ENOENT, os.stat, "f")
        same((os.fstat(fd).st_nlink, os.fstat(fd).st_size), (0, size))
        os.pwrite(fd, b"more", size)
        os.ftruncate(fd, size + 300000)
        os.fchmod(fd, 0o600)
        os.utime(fd, ns=(5, 6))
        os.setxattr(fd, "user.x", b"y")
        same((os.getxattr(fd, "user.x"), os.listxattr(fd)), (b"y", ["user.x"]))
        same(os.pread(fd, 9, size - 2), b"ffmore\0\0\0")
        st = os.fstat(fd)
        same((st.st_mode & 0o777, st.st_mtime_ns), (0o600, 6))
        put("f", b"another")
        same(os.pread(fd, 3, 0), b"fff")
        fails(errno.ENOENT, link_open, fd, "back")
        os.close(fd)
        os.unlink("f")


@test
def removed_but_open_directory():
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY)
    os.rmdir("d")
    same((os.fstat(fd).st_nlink, os.listdir(fd)), (0, []))
    fails(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd)
    fails(errno.ENOENT, os.mkdir, "x", dir_fd=fd)
    put("f")
    fails(errno.ENOENT, os.rename, "f", "g", dst_dir_fd=fd)
    fails(errno.ENOENT, os.link, "f", "g", dst_dir_fd=fd)
    os.fchmod(fd, 0o700)
    os.close(fd)


@test
def special_files():
    os.mkfifo("p", 0o640)
    assert stat.S_ISFIFO(os.stat("p").st_mode)
    children(lambda: put("p", b"through"), lambda: same(get("p"), b"through"))
    s = socket.socket(socket.AF_UNIX)
    s.bind("sock")
    s.listen(1)
    assert stat.S_ISSOCK(os.stat("sock").st_mode)
    c = socket.socket(socket.AF_UNIX)
    c.connect("sock")
    peer = s.accept()[0]
    c.send(b"hi")
    same(peer.recv(9), b"hi")
    fails(errno.ENXIO, os.open, "sock", os.O_RDONLY)
    for x in (s, c, peer):
        x.close()
    os.mknod("chr", stat.S_IFCHR | 0o666, os.makedev(259, 1048575))
    os.mknod("blk", stat.S_IFBLK | 0o660, os.makedev(4095, 70000))
    os.mknod("reg", stat.S_IFREG | 0o604)
    st = os.stat("chr")
    same((stat.S_ISCHR(st.st_mode), os.major(st.st_rdev), os.minor(st.st_rdev)), (True, 259, 1048575))
    st = os.stat("blk")
    same((stat.S_ISBLK(st.st_mode), os.major(st.st_rdev), os.minor(st.st_rdev)), (True, 4095, 70000))
    same(os.stat("reg").st_mode, stat.S_IFREG | 0o604)
    os.mkdir("open")
    os.chmod("open", 0o777)
    as_user(lambda: fails(errno.EPERM, os.mknod, "open/c", stat.S_IFCHR | 0o666, os.makedev(1, 3)))


# ---- modes, owners, times ----


@test
def umask_and_modes():
    old = os.umask(0o027)
    try:
        os.mkdir("d", 0o777)
        os.close(opened("f", mode=0o666))
        os.mkfifo("p", 0o666)
    finally:
        os.umask(old)
    same([os.stat(x).st_mode & 0o7777 for x in "dfp"], [0o750, 0o640, 0o640])
    os.chmod("d", 0o7777)
    same(os.stat("d").st_mode & 0o7777, 0o7777)


@test
def setgid_directory():
    os.mkdir("d")
    os.chown("d", 0, 2000)
    os.chmod("d", 0o2777)

    def user():
        put("d/f")
        os.mkdir("d/s")
        os.symlink("x", "d/l")
        same([os.lstat("d/" + x).st_gid for x in "fsl"], [2000] * 3)
        same(os.stat("d/s").st_mode & 0o7000, 0o2000)
        # Not a member: the bit must not come with the file, and chmod drops it silently.
        os.close(opened("d/g", mode=0o2775))
        same(os.stat("d/g").st_mode & 0o7000, 0)
        os.chmod("d/g", 0o2775)
        same(os.stat("d/g").st_mode & 0o7000, 0)

    def member():
        put("d/m")
        os.chmod("d/m", 0o2775)
        same(os.stat("d/m").st_mode & 0o7000, 0o2000)

    os.chmod(".", 0o755)
    as_user(user)
    as_user(member, groups=(2000,))


@test
def supplementary_groups():
    os.mkdir("d")
    put("d/f", b"x")
    os.chown("d", 0, 2000)
    os.chown("d/f", 0, 2001)
    os.chmod("d", 0o710)
    os.chmod("d/f", 0o640)
    as_user(lambda: same(get("d/f"), b"x"), groups=(2000, 2001))
    as_user(lambda: fails(errno.EACCES, get, "d/f"), groups=(2000,))
    as_user(lambda: fails(errno.EACCES, os.stat, "d/f"), groups=(2001,))

    def owner():
        os.chown("g", -1, 2000)
        fails(errno.EPERM, os.chown, "g", -1, 2001)
        fails(errno.EPERM, os.chown, "g", 0, -1)

    put("g")
    os.chown("g", 65534, 65534)
    as_user(owner, groups=(2000,))
    same(os.stat("g").st_gid, 2000)


def priv_bits(fn, mode=0o6775, owner=65534):
    """The mode bits left of a file when an ordinary user does fn(fd) to it."""
    put("prog", b"p" * 10000)
    os.chown("prog", owner, 65534)
    os.chmod("prog", mode)
    os.stat("prog")

    def user():
        fd = os.open("prog", os.O_RDWR)
        fn(fd)
        os.close(fd)

    as_user(user)
    return f"{os.stat('prog').st_mode & 0o7777:o}"


def copy_into(fd):
    put("shared/from", b"c" * 5000)
    src = os.open("shared/from", os.O_RDONLY)
    same(os.copy_file_range(src, fd, 5000, 0, 0), 5000)


def map_and_write(fd):
    m = mmap.mmap(fd, 0)
    m[0:1] = b"x"
    m.flush()
    m.close()


@test
def priv_bits_cleared():
    os.mkdir("shared")
    os.chmod("shared", 0o1777)
    ways = {
        "write": lambda fd: os.write(fd, b"x"),
        "pwrite beyond the end": lambda fd: os.pwrite(fd, b"x", 50000),
        "ftruncate": lambda fd: os.ftruncate(fd, 5),
        "longer": lambda fd: os.ftruncate(fd, 20000),
        "open with O_TRUNC": lambda fd: os.close(os.open("prog", os.O_WRONLY | os.O_TRUNC)),
        "fallocate": lambda fd: fallocate(fd, 0, 0, 30000),
        "fallocate within": lambda fd: fallocate(fd, KEEP_SIZE, 0, 3000),
        "punch": lambda fd: fallocate(fd, PUNCH | KEEP_SIZE, 0, 3000),
        "zero": lambda fd: fallocate(fd, ZERO, 0, 3000),
        "copy_file_range": copy_into,
        "chown": lambda fd: os.fchown(fd, -1, 65534),
    }
    for name, fn in ways.items():
        same(priv_bits(fn), "775", name)
        same(priv_bits(fn, 0o4775), "775", name + " setuid")
        same(priv_bits(fn, 0o2775), "775", name + " setgid")
    same(priv_bits(lambda fd: os.utime(fd, ns=(1, 2))), "6775", "utime")
    same(priv_bits(lambda fd: os.write(fd, b"")), "6775", "nothing written")
    # Without group execution setgid means mandatory locking and stays for its members.
    same(priv_bits(lambda fd: os.write(fd, b"x"), 0o6765), "2765", "locking")
    same(priv_bits(lambda fd: os.fchown(fd, -1, 65534), 0o6765), "2765", "chown, locking")


@test
def priv_bits_of_others():
    """Setgid without group execution goes too, when the caller is not in the group."""
    os.mkdir("shared")
    os.chmod("shared", 0o1777)
    ways = {
        "write": lambda fd: os.write(fd, b"x"),
        "ftruncate": lambda fd: os.ftruncate(fd, 5),
        "fallocate": lambda fd: fallocate(fd, 0, 0, 30000),
        "copy_file_range": copy_into,
    }
    for name, fn in ways.items():
        for groups, want in (((), 0o766), ((2000,), 0o2766)):
            put("prog", b"p" * 10000)
            os.chown("prog", 1, 2000)
            os.chmod("prog", 0o6766)

            def user():
                fd = os.open("prog", os.O_RDWR)
                fn(fd)
                os.close(fd)

            as_user(user, groups=groups)
            # With the write-back cache it is the kernel that does it, and leaves setgid.
            if not os.environ.get("CALLS_WRITEBACK"):
                same(os.stat("prog").st_mode & 0o7777, want, f"{name} {groups}")
    # Through a descriptor that its user could not have opened.
    for name, fn in ways.items():
        for mode in (0o6755, 0o2745):
            put("prog", b"p" * 10000)
            os.chmod("prog", mode)
            fd = os.open("prog", os.O_RDWR)
            as_user(lambda: fn(fd))
            os.close(fd)
            if not os.environ.get("CALLS_WRITEBACK"):
                same(os.stat("prog").st_mode & 0o7777, mode & 0o777, name + " of a given one")


@test
def chown_to_nobody():
    put("prog")
    os.chown("prog", 65534, 65534)
    os.chmod("prog", 0o6775)
    same(changed("prog", lambda: as_user(lambda: os.chown("prog", -1, -1))), "c")
    same(os.stat("prog").st_mode & 0o7777, 0o775)
    same(changed("prog", lambda: os.chown("prog", -1, -1)), "c")
    os.chmod("prog", 0o4755)
    try:
        as_user(lambda: os.chown("prog", -1, -1), uid=1000, gid=1000)
    except AssertionError:
        pass  # EPERM on ext4
    same(os.stat("prog").st_mode & 0o7777, 0o4755, "not a stranger's to take")
    os.mkfifo("p")
    os.chmod("p", 0o6777)
    as_user(lambda: fails(errno.EPERM, os.chown, "p", -1, -1))
    same(os.stat("p").st_mode & 0o7777, 0o6777)
    os.chown("p", -1, -1)
    same(os.stat("p").st_mode & 0o7777, 0o777)


@test
def priv_bits_and_root():
    put("prog", b"p" * 5000)
    os.chmod("prog", 0o6775)
    fd = opened("prog")
    os.write(fd, b"x")
    os.ftruncate(fd, 100)
    fallocate(fd, 0, 0, 5000)
    same(os.fstat(fd).st_mode & 0o7777, 0o6775, "root's writes")
    os.close(fd)
    os.chown("prog", 1, 1)
    same(os.stat("prog").st_mode & 0o7777, 0o775, "root's chown")
    os.mkdir("d")
    os.chmod("d", 0o6775)
    os.chown("d", 1, 1)
    same(os.stat("d").st_mode & 0o7777, 0o6775, "a directory")


CAPS = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


@test
def file_capabilities():
    for what, fn in {
        "write": lambda fd: os.write(fd, b"x"),
        "truncate": lambda fd: os.ftruncate(fd, 1),
        "chown": lambda fd: os.fchown(fd, 1, 1),
        "fallocate": lambda fd: fallocate(fd, 0, 0, 90000),
    }.items():
        put("c", b"c" * 5000)
        os.setxattr("c", "security.capability", CAPS)
        same(os.getxattr("c", "security.capability"), CAPS)
        os.setxattr("c", "user.stays", b"1")
        fd = opened("c")
        fn(fd)
        os.close(fd)
        fails(errno.ENODATA, os.getxattr, "c", "security.capability")
        same(os.listxattr("c"), ["user.stays"], what)
        os.unlink("c")


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


# ---- data ----


@test
def append_from_many():
    def writer(c, flags):
        def run():
            fd = os.open("log", os.O_WRONLY | os.O_APPEND | flags)
            for i in range(300):
                line = b"%c%05d" % (c, i) * (1 + i % 40) + b"\n"
                same(os.write(fd, line), len(line))
        return run

    put("log")
    children(*(writer(c, 0) for c in b"abcd"))
    seen = {}
    for line in get("log").split(b"\n")[:-1]:
        c, i = line[0], int(line[1:6])
        same(line, line[:6] * (1 + i % 40))
        same(i, seen.get(c, -1) + 1, "in order")
        seen[c] = i
    same(set(seen.values()), {299})
    fd = os.open("log", os.O_WRONLY | os.O_APPEND)
    size = os.fstat(fd).st_size
    os.pwrite(fd, b"tail", 3)  # Linux appends whatever the offset
    same(os.fstat(fd).st_size, size + 4)
    os.close(fd)


@test
def direct_and_synced():
    buf = mmap.mmap(-1, 65536)
    buf[:] = os.urandom(65536)
    for flags in (os.O_DIRECT, os.O_SYNC, os.O_DSYNC, os.O_DIRECT | os.O_SYNC):
        fd = opened("f", os.O_RDWR | os.O_CREAT | os.O_TRUNC | flags)
        same(os.pwritev(fd, [buf], 8192), 65536)
        same(os.fstat(fd).st_size, 73728)
        back = mmap.mmap(-1, 73728)
        same(os.preadv(fd, [back], 0), 73728)
        same(back[:], bytes(8192) + buf[:])
        same(os.preadv(fd, [back], 73728), 0)
        os.close(fd)
        same(get("f"), bytes(8192) + buf[:])
    # What others have cached, and write through direct I/O, is one file.
    fd = opened("f")
    same(os.pread(fd, 4096, 8192), buf[:4096])
    d = os.open("f", os.O_RDWR | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    page[:] = b"d" * 4096
    os.pwritev(d, [page], 8192)
    same(os.pread(fd, 4096, 8192), b"d" * 4096)
    os.pwrite(fd, b"buffered", 8192)
    os.preadv(d, [page], 8192)
    same(page[:8], b"buffered")


@test
def sizes():
    largest = (1 << 63) - 1
    fd = opened("f")
    if os.statvfs(".").f_fsid and os.path.ismount(os.environ.get("CALLS_MOUNT", "/nowhere")):
        os.ftruncate(fd, largest)
        same(os.fstat(fd).st_size, largest)
        same(os.pread(fd, 10, largest - 5), bytes(5))
        os.pwrite(fd, b"end", largest - 4097)
        same(os.pread(fd, 5, largest - 4098), b"\0end\0")
        same(os.lseek(fd, 0, os.SEEK_DATA) <= largest - 4097, True)
        assert os.fstat(fd).st_blocks < 1000
        fails(errno.EFBIG, os.pwrite, fd, b"x", largest)
        fallocate(fd, PUNCH | KEEP_SIZE, 0, largest)
        same(os.pread(fd, 5, largest - 4098), bytes(5))
    fails(errno.EINVAL, os.ftruncate, fd, -1)
    os.ftruncate(fd, 0)
    os.ftruncate(fd, 5 << 40)
    os.pwrite(fd, b"middle", 3 << 40)
    same(os.pread(fd, 8, (3 << 40) - 1), b"\0middle\0")
    os.ftruncate(fd, (3 << 40) + 3)
    os.ftruncate(fd, 5 << 40)
    same(os.pread(fd, 8, (3 << 40) - 1), b"\0mid\0\0\0\0", "cut bytes do not come back")
    os.close(fd)


@test
def seek_hole_and_data():
    K = 1 << 16
    fd = opened("f")
    fails(errno.ENXIO, os.lseek, fd, 0, os.SEEK_DATA)
    fails(errno.ENXIO, os.lseek, fd, 0, os.SEEK_HOLE)
    os.ftruncate(fd, 20 * K)
    fails(errno.ENXIO, os.lseek, fd, 0, os.SEEK_DATA)
    same(os.lseek(fd, 5, os.SEEK_HOLE), 5)
    os.pwrite(fd, b"x" * K, 4 * K)
    os.pwrite(fd, b"x" * K, 10 * K)
    os.fsync(fd)
    same([os.lseek(fd, x * K, os.SEEK_DATA) // K for x in (0, 4, 5, 10)], [4, 4, 10, 10])
    same([os.lseek(fd, x * K, os.SEEK_HOLE) // K for x in (0, 4, 5, 10, 11)], [0, 5, 5, 11, 11])
    fails(errno.ENXIO, os.lseek, fd, 11 * K, os.SEEK_DATA)
    fails(errno.ENXIO, os.lseek, fd, 20 * K, os.SEEK_HOLE)
    fails(errno.ENXIO, os.lseek, fd, 21 * K, os.SEEK_DATA)
    same(os.lseek(fd, 20 * K - 1, os.SEEK_HOLE), 20 * K - 1)
    fallocate(fd, PUNCH | KEEP_SIZE, 4 * K, K)
    same(os.lseek(fd, 0, os.SEEK_DATA), 10 * K)
    os.close(fd)
    # A small file, which is kept in another way.
    put("s", b"s" * 100)
    fd = opened("s")
    same((os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_HOLE)), (0, 100))
    fails(errno.ENXIO, os.lseek, fd, 100, os.SEEK_DATA)
    os.close(fd)


@test
def fallocate_modes():
    for size in (1500, 300000):
        data = os.urandom(size)
        put("f", data)
        fd = opened("f")
        fallocate(fd, 0, 0, size)
        fallocate(fd, KEEP_SIZE, size, size)
        same(get("f"), data)
        fallocate(fd, 0, 0, size + 100)
        same(get("f"), data + bytes(100))
        cut = bytearray(data + bytes(100))
        fallocate(fd, PUNCH | KEEP_SIZE, 100, size // 2)
        cut[100:100 + size // 2] = bytes(size // 2)
        same(get("f"), bytes(cut))
        fallocate(fd, ZERO | KEEP_SIZE, size - 50, 1000)
        cut[size - 50:] = bytes(150)
        same(get("f"), bytes(cut))
        fallocate(fd, ZERO, size + 50, 1000)
        same(get("f"), bytes(cut) + bytes(950))
        fallocate(fd, PUNCH | KEEP_SIZE, size, 1 << 40)
        same(os.fstat(fd).st_size, size + 1050)
        fails(errno.EINVAL, fallocate, fd, 0, 0, 0)
        fails(errno.EINVAL, fallocate, fd, 0, -1, 10)
        fails(errno.EFBIG, fallocate, fd, 0, (1 << 63) - 5, 100)
        fails(errno.EOPNOTSUPP, fallocate, fd, PUNCH, 0, 10)
        os.close(fd)
    fd = os.open("f", os.O_RDONLY)
    fails(errno.EBADF, fallocate, fd, 0, 0, 10)
    os.close(fd)
    r, w = os.pipe()
    fails(errno.ESPIPE, fallocate, w, 0, 0, 10)
    os.close(r)
    os.close(w)


@test
def copy_file_range():
    data = os.urandom(700000)
    put("a", data)
    a, b = opened("a"), opened("b")
    same(copy_range(a, b, 700000, 0, 0), 700000)
    same(get("b"), data)
    same(copy_range(a, b, 131, 77, 699990), 131)
    same(get("b"), data[:699990] + data[77:208])
    same(copy_range(a, b, 5000, 699000, 5), 1000)
    same(os.copy_file_range(a, b, 10, 700000, 0), 0)
    same(os.copy_file_range(a, b, 10, 999999999, 0), 0)
    want = bytearray(data[:699990] + data[77:208])
    want[5:1005] = data[699000:]
    same(get("b"), bytes(want))
    os.pwrite(a, b"changed", 300)
    same(get("b"), bytes(want), "shared no more")
    same(copy_range(a, a, 1000, 0, 400000), 1000)
    fails(errno.EINVAL, os.copy_file_range, a, a, 1000, 0, 500)
    same(get("a")[400000:401000], get("a")[:1000])
    os.ftruncate(a, 10 << 20)  # mostly a hole
    os.ftruncate(b, 0)
    same(copy_range(a, b, 10 << 20, 0, 0), 10 << 20)
    same(get("b"), get("a"))
    os.mkdir("d")
    d = os.open("d", os.O_RDONLY)
    fails(errno.EISDIR, os.copy_file_range, d, b, 10)
    r = os.open("a", os.O_RDONLY)
    fails(errno.EBADF, os.copy_file_range, a, r, 10)
    for fd in (a, b, d, r):
        os.close(fd)


@test
def mappings_are_the_file():
    put("f", b"." * 200000)
    fd = opened("f")
    m = mmap.mmap(fd, 200000)
    p = mmap.mmap(fd, 200000, flags=mmap.MAP_PRIVATE)
    m[100:103] = b"map"
    same(os.pread(fd, 5, 99), b".map.")
    os.pwrite(fd, b"pwrite", 150000)
    same(m[150000:150006], b"pwrite")
    p[0:7] = b"private"
    same((os.pread(fd, 7, 0), m[0:7]), (b"." * 7,) * 2)
    same(p[150000:150006], b"pwrite")
    children(lambda: os.pwrite(fd, b"child", 70000))
    same(m[70000:70005], b"child")
    fallocate(fd, PUNCH | KEEP_SIZE, 150000, 3)
    same(m[149999:150006], b".\0\0\0ite")
    os.ftruncate(fd, 100)
    os.ftruncate(fd, 200000)
    same(m[90:110], b"." * 10 + bytes(10))
    m[150000:150003] = b"new"
    src = opened("src")
    os.pwrite(src, b"s" * 4096, 0)
    same(os.copy_file_range(fd, src, 3, 150000, 1), 3)
    same(os.pread(src, 5, 0), b"snews", "what a mapping has changed is copied")
    m.flush()
    d = os.open("f", os.O_RDONLY | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    os.preadv(d, [page], 147456)
    same(page[150000 - 147456:][:3], b"new")
    m.close()
    p.close()
    for x in (fd, src, d):
        os.close(x)


@test
def mapping_changes_times():
    put("f", b"." * 5000)
    os.utime("f", ns=(1, 2))
    c = os.stat("f").st_ctime_ns
    tick()
    fd = opened("f")
    m = mmap.mmap(fd, 5000)
    m[0:1] = b"x"
    m.flush()
    st = os.fstat(fd)
    assert st.st_mtime_ns > 2, "mtime after msync"
    assert st.st_ctime_ns > c, "ctime after msync"
    m.close()
    os.close(fd)


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


# ---- extended attributes ----


@test
def xattrs():
    put("f")
    os.mkdir("d")
    fails(errno.ENODATA, os.getxattr, "f", "user.none")
    fails(errno.ENODATA, os.removexattr, "f", "user.none")
    fails(errno.ENODATA, os.setxattr, "f", "user.none", b"", os.XATTR_REPLACE)
    os.setxattr("f", "user.a", b"1", os.XATTR_CREATE)
    fails(errno.EEXIST, os.setxattr, "f", "user.a", b"2", os.XATTR_CREATE)
    os.setxattr("f", "user.a", b"", os.XATTR_REPLACE)
    same(os.getxattr("f", "user.a"), b"")
    names = ["user.a", "user." + "n" * 250, "trusted.t", "security.s", "user.\u00fc"]
    for n in names[1:]:
        os.setxattr("f", n, n.encode())
    same(sorted(os.listxattr("f")), sorted(names))
    same([os.getxattr("f", n) for n in names[1:]], [n.encode() for n in names[1:]])
    fails(errno.ERANGE, os.setxattr, "f", "user." + "n" * 251, b"")
    fails(errno.EOPNOTSUPP, os.setxattr, "f", "none.x", b"")
    big = os.urandom(int(os.environ.get("CALLS_XATTR_BYTES", "3000")))
    os.setxattr("d", "user.big", big)
    same(os.getxattr("d", "user.big"), big)
    os.setxattr("d", "trusted.\x01odd", b"\0\xff")
    same(os.getxattr("d", "trusted.\x01odd"), b"\0\xff")
    fails(errno.E2BIG, os.setxattr, "f", "user.big", bytes(65537))
    small = ctypes.create_string_buffer(3)
    same((libc.getxattr(b"d", b"user.big", small, 3), ctypes.get_errno()), (-1, errno.ERANGE))
    same((libc.listxattr(b"d", small, 3), ctypes.get_errno()), (-1, errno.ERANGE))
    os.symlink("f", "l")
    fails(errno.EPERM, os.setxattr, "l", "user.a", b"", follow_symlinks=False)
    os.setxattr("l", "trusted.a", b"link", follow_symlinks=False)
    same(os.listxattr("l", follow_symlinks=False), ["trusted.a"])
    os.mkfifo("p")
    fails(errno.EPERM, os.setxattr, "p", "user.a", b"")
    os.setxattr("p", "trusted.p", b"1")
    os.link("f", "f2")
    os.rename("f", "g")
    same(sorted(os.listxattr("f2")), sorted(names))
    os.chmod("g", 0o644)
    os.chmod(".", 0o755)

    def user():
        same(sorted(os.listxattr("g")), sorted(n for n in names if not n.startswith("trusted.")))
        fails(errno.ENODATA, os.getxattr, "g", "trusted.t")
        fails(errno.EPERM, os.setxattr, "g", "trusted.t", b"")
        fails(errno.EACCES, os.setxattr, "g", "user.a", b"")
        fails(errno.EPERM, os.setxattr, "g", "security.s", b"")

    as_user(user)
    for n in names:
        os.removexattr("g", n)
    same(os.listxattr("g"), [])


# ---- directories ----


def fill(d, n):
    os.mkdir(d)
    names = [f"a-name-of-some-length-{i:06d}" for i in range(n)]
    for name in names:
        os.close(os.open(f"{d}/{name}", os.O_CREAT | os.O_WRONLY, 0o644))
    return names


@test
def removing_what_was_listed():
    n = int(os.environ.get("CALLS_ENTRIES", "5000"))
    names = fill("d", n)
    seen = []
    with os.scandir("d") as it:
        for e in it:
            seen.append(e.name)
            os.unlink(e.path)
    same(sorted(seen), names)
    same(os.listdir("d"), [])
    os.rmdir("d")


@test
def two_readers_and_a_remover():
    """A second reader in between made the kernel's list of names another one, by whose
    offsets the first went on: it missed as many names as it had removed."""
    names = fill("d", 3000)
    seen = []
    with os.scandir("d") as it:
        for e in it:
            seen.append(e.name)
            os.unlink(e.path)
            if len(seen) == 1000:
                break
        for _ in range(2):
            same(len(os.listdir("d")), 2000)
            time.sleep(0.1)
        seen += [e.name for e in it]
    same(sorted(seen), names)
    same(len(os.listdir("d")), 2000)


@test
def seekdir_and_rewinddir():
    names = set(fill("d", 2000))
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    libc.telldir.argtypes = libc.rewinddir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
    libc.readdir.argtypes = [ctypes.c_void_p]
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]

    def entries(d):
        out = []
        while True:
            e = libc.readdir(d)
            if not e:
                return out
            out.append((libc.telldir(d), ctypes.string_at(e + 19).decode()))

    d = libc.opendir(b"d")
    first = entries(d)
    same({n for _, n in first} - {".", ".."}, names)
    same(len({p for p, _ in first}), len(first), "places")
    for at in (0, 1, 700, 1999, 3, 2001):
        libc.seekdir(d, first[at][0])
        same(entries(d), first[at + 1:], f"from entry {at}")
    put("d/new")
    os.unlink("d/" + min(names))
    libc.rewinddir(d)
    same({n for _, n in entries(d)} - {".", ".."}, names - {min(names)} | {"new"})
    libc.closedir(d)


@test
def made_after_the_directory_was_opened():
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY)
    put("d/a")
    same(os.listdir(fd), ["a"])
    put("d/b")
    same(sorted(os.listdir(fd)), ["a", "b"])
    os.unlink("d/a")
    same(os.listdir(fd), ["b"])
    os.close(fd)


@test
def types_and_numbers_in_listings():
    os.mkdir("t")
    put("t/f")
    os.mkdir("t/d")
    os.symlink("f", "t/l")
    os.mkfifo("t/p")
    os.mknod("t/c", stat.S_IFCHR, os.makedev(1, 3))
    os.link("t/f", "t/f2")
    for e in os.scandir("t"):
        st = e.stat(follow_symlinks=False)
        same(e.inode(), st.st_ino, e.name)
        same((e.is_dir(follow_symlinks=False), e.is_symlink()),
             (stat.S_ISDIR(st.st_mode), stat.S_ISLNK(st.st_mode)), e.name)


@test
def inotify():
    os.mkdir("d")
    put("d/f")
    fd = check(libc.inotify_init1(os.O_NONBLOCK))
    check(libc.inotify_add_watch(fd, b"d", 0xFFF))
    put("d/new", b"x")
    os.rename("d/new", "d/moved")
    os.chmod("d/f", 0o600)
    os.unlink("d/moved")
    os.mkdir("d/s")
    masks = {}
    while select.select([fd], [], [], 0.2)[0]:
        buf = os.read(fd, 65536)
        while buf:
            _, mask, _, n = struct.unpack("iIII", buf[:16])
            name = buf[16:16 + n].rstrip(b"\0").decode()
            masks[name] = masks.get(name, 0) | mask
            buf = buf[16 + n:]
    os.close(fd)
    CREATE, DELETE, FROM, TO, ATTRIB, MODIFY, CLOSE = 0x100, 0x200, 0x40, 0x80, 4, 2, 8
    for name, want in {"new": CREATE | MODIFY | CLOSE | FROM, "moved": TO | DELETE, "f": ATTRIB,
                       "s": CREATE}.items():
        same(masks.get(name, 0) & want, want, name)


# ---- the filesystem ----


@test
def statfs():
    s = os.statvfs(".")
    same(s.f_namemax, 255)
    assert s.f_bavail <= s.f_bfree <= s.f_blocks and s.f_blocks > 0
    assert s.f_ffree <= s.f_files
    used = s.f_files - s.f_ffree
    for i in range(100):
        put(f"f{i}")
    os.link("f0", "another")
    s = os.statvfs(".")
    assert 100 <= s.f_files - s.f_ffree - used, "df -i counts them"


@test
def syncing():
    os.mkdir("d")
    d = os.open("d", os.O_RDONLY)
    f = opened("d/f")
    os.write(f, b"x")
    os.fsync(f)
    os.fdatasync(f)
    os.fsync(d)
    check(libc.syncfs(d))
    os.unlink("d/f")
    os.fsync(f)
    os.close(f)
    os.rmdir("d")
    os.fsync(d)
    os.close(d)


main()
