#!/usr/bin/env python3
"""calls_paths.py DIR: how paths are walked, and the ways to a file but by a path."""

from calls_lib import *

O_PATH, AT_EMPTY_PATH = os.O_PATH, 0x1000


@test
def trailing_slashes():
    put("f")
    os.mkdir("d")
    os.symlink("d", "l")
    os.symlink("f", "lf")
    os.symlink("none", "dangling")
    for path in ("f/", "lf/", "f/.", "f/.."):
        fails(errno.ENOTDIR, os.stat, path)
    for fn in (os.unlink, os.rmdir, os.readlink):
        fails(errno.ENOTDIR, fn, "f/")
    fails(errno.ENOTDIR, os.rename, "f/", "g")
    fails(errno.ENOTDIR, os.rename, "f", "g/")
    fails(errno.ENOENT, os.link, "f", "g/")
    fails(errno.ENOENT, os.symlink, "f", "g/")
    fails(errno.EISDIR, os.open, "g/", os.O_CREAT | os.O_WRONLY)
    fails(errno.ENOENT, os.mknod, "g/", stat.S_IFREG)
    fails(errno.EEXIST, os.mkdir, "dangling/")
    fails(errno.ENOTDIR, os.rmdir, "l/")
    fails(errno.ENOTDIR, os.rename, "l/", "m")
    same(stat.S_ISDIR(os.lstat("l/").st_mode), True)
    os.mkdir("e/")
    os.mkdir("e//g///")
    os.rename("e/", "h/")
    os.rmdir("h/g/")
    os.rmdir("h/")
    for path in (".", "./", "d/.", "d/.."):
        fails({".": errno.EINVAL, "./": errno.EINVAL, "d/.": errno.EINVAL,
               "d/..": errno.ENOTEMPTY}[path], os.rmdir, path)
        fails(errno.EISDIR, os.unlink, path)
        fails(errno.EBUSY, os.rename, path, "x")
        fails(errno.EEXIST, os.mkdir, path)


@test
def long_and_looping():
    os.mkdir("d")
    long = "d/" + "./" * 2046 + "f"  # 4095 bytes, the most there may be
    put(long, b"long")
    same(get("d/f"), b"long")
    fails(errno.ENAMETOOLONG, os.stat, "./" + long)
    put("end", b"end")
    os.symlink("end", "l0")
    for i in range(1, 42):
        os.symlink(f"l{i - 1}", f"l{i}")
    same(get("l39"), b"end")  # 40 links
    fails(errno.ELOOP, os.stat, "l40")
    same(os.readlink("l40"), "l39")
    for i in range(30):  # deeper than a path can say
        os.mkdir("n" * 200)
        os.chdir("n" * 200)
    put("bottom", b"deep")
    same(get("bottom"), b"deep")
    for i in range(30):
        os.chdir("..")
    same(os.path.exists("l0"), True)


@test
def parents():
    os.makedirs("a/b/c")
    os.mkdir("z")
    os.chdir("a/b/c")
    os.rename("../../../a/b", "../../../z/b")
    same(os.stat("../..").st_ino, os.stat("../../../z").st_ino)
    same(os.getcwd().endswith("/z/b/c"), True)
    same({e.name: e.inode() for e in os.scandir("..")}, {"c": os.stat(".").st_ino})
    d = os.open("..", os.O_RDONLY)
    os.chdir("../../..")
    same(os.stat("..", dir_fd=d).st_ino, os.stat("z").st_ino)
    os.close(d)


@test
def a_removed_current_directory():
    os.mkdir("d")
    os.chdir("d")
    os.rmdir("../d")
    fails(errno.ENOENT, os.getcwd)
    fails(errno.ENOENT, os.mkdir, "x")
    fails(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY)
    fails(errno.ENOENT, os.stat, "x")
    same((os.listdir("."), os.stat(".").st_nlink), ([], 0))
    os.chdir("..")
    same(os.listdir("."), [])


@test
def by_proc():
    put("f", b"12345")
    fd = opened("f")
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    same(os.read(again, 9), b"12345")
    os.rename("f", "g")
    same(os.readlink(f"/proc/self/fd/{fd}").endswith("/g"), True)
    os.unlink("g")
    same(os.readlink(f"/proc/self/fd/{fd}").endswith("/g (deleted)"), True)
    last = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_TRUNC)
    os.write(last, b"new")
    same((os.pread(fd, 9, 0), os.pread(again, 9, 0)), (b"new", b"new"))
    for x in (fd, again, last):
        os.close(x)


@test
def by_o_path():
    os.mkdir("d")
    put("d/f", b"file")
    os.symlink("f", "d/l")
    os.chmod("d/f", 0)
    d = os.open("d", O_PATH)
    f = os.open("f", O_PATH, dir_fd=d)
    l = os.open("l", O_PATH | os.O_NOFOLLOW, dir_fd=d)
    same((os.fstat(f).st_size, stat.S_ISLNK(os.fstat(l).st_mode)), (4, True))
    same(os.readlink("", dir_fd=l), "f")
    for fn, *args in ((os.read, 1), (os.write, b""), (os.fchmod, 0o600), (os.ftruncate, 0), (os.fsync,)):
        fails(errno.EBADF, fn, f, *args)
    fails(errno.ENOTDIR, os.open, "x", os.O_RDONLY, dir_fd=f)
    os.chmod(f"/proc/self/fd/{f}", 0o640)
    same(os.stat("d/f").st_mode & 0o777, 0o640)
    check(libc.linkat(f, b"", d, b"g", AT_EMPTY_PATH))
    same((get("d/g"), os.fstat(f).st_nlink), (b"file", 2))
    for x in (d, f, l):
        os.close(x)


@test
def by_handle():
    put("f", b"handle")
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
    mount = ctypes.c_int()
    check(libc.name_to_handle_at(AT_FDCWD, b"f", handle, ctypes.byref(mount), 0))
    d = os.open(".", os.O_RDONLY)
    fd = check(libc.open_by_handle_at(d, handle, os.O_RDONLY))
    same((os.read(fd, 9), os.fstat(fd).st_ino), (b"handle", os.stat("f").st_ino))
    os.close(fd)
    os.unlink("f")
    same((libc.open_by_handle_at(d, handle, os.O_RDONLY), ctypes.get_errno()), (-1, errno.ESTALE))
    os.close(d)


@test
def statx():
    put("f", b"12345")
    buf = ctypes.create_string_buffer(256)
    check(libc.statx(AT_FDCWD, b"f", 0, 0xFFF, buf))
    mask, _, _, nlink, uid, gid, mode, ino, size = struct.unpack_from("IIQIIIHxxQQ", buf.raw)
    st = os.stat("f")
    same(mask & 0x7FF, 0x7FF)
    same((nlink, uid, gid, mode, ino, size),
         (st.st_nlink, st.st_uid, st.st_gid, st.st_mode, st.st_ino, st.st_size))
    fails(errno.EINVAL, lambda: check(libc.statx(AT_FDCWD, b"f", 0, 1 << 31, buf)))


@test
def nameless_files():
    """O_TMPFILE, which FUSE has from libfuse 3.17 on."""
    try:
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640)
    except OSError as e:
        same(e.errno, errno.EOPNOTSUPP)
        return
    os.write(fd, b"nameless")
    same((os.fstat(fd).st_nlink, os.listdir(".")), (0, []))
    link_open(fd, "named")
    same((os.fstat(fd).st_nlink, get("named"), os.stat("named").st_mode & 0o777),
         (1, b"nameless", 0o640))
    os.close(fd)
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640)
    fails(errno.ENOENT, link_open, fd, "never")
    os.close(fd)


@test
def listing_beside_changes():
    """Whatever comes and goes meanwhile, what was there all the time is listed once."""
    for n in (50, 3000):
        d = f"d{n}"
        os.mkdir(d)
        names = [f"{i:06d}" for i in range(n)]
        for name in names:
            put(f"{d}/{name}")
        gone, seen = set(names[n // 4::3]), []
        with os.scandir(d) as it:
            for i, e in enumerate(it):
                seen.append(e.name)
                if i == n // 5:
                    for name in gone:
                        os.unlink(f"{d}/{name}")
                    for j in range(n):
                        put(f"{d}/new{j}")
                    os.rename(f"{d}/{names[0]}", f"{d}/zz")
        same(len(seen), len(set(seen)), "each once")
        stayed = set(names) - gone - {names[0]}
        same(stayed - set(seen), set())
        same(sorted(os.listdir(d)), sorted(stayed | {f"new{j}" for j in range(n)} | {"zz"}))


main()
