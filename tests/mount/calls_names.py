#!/usr/bin/env python3
"""calls_names.py DIR: renames, links, names, open flags, special files, and files that are removed
while they are open: the rules of ext4 and POSIX."""

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


main()
