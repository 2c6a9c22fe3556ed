#!/usr/bin/env python3
"""calls_attributes.py DIR: modes, owners, setuid and setgid, and extended attributes."""

from calls_lib import *

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
            # With the write-back cache the kernel clears the bits, and keeps setgid.
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


main()
