#!/usr/bin/env python3
"""calls_directories.py DIR: listing directories, inotify, statfs() and the calls that sync."""

from calls_lib import *

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
    """Regression: a second reader replaced the kernel's cached list of names. The first reader went on
    with offsets in the new list, and missed as many names as it had removed."""
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
    # Rewound before anything was read.
    os.mkdir("late")
    d = libc.opendir(b"late")
    put("late/new")
    libc.rewinddir(d)
    same({n for _, n in entries(d)}, {".", "..", "new"})
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
