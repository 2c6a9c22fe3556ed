"""calls_lib.py: what the programs of single system calls (calls_*.py) share.

Each of them is run as PROGRAM.py DIR [TEST...]: a test makes its own files in a folder of
DIR and prints one line of TAP. Run by calls.sh on a mount, as root; on a directory of an ext4
they pass as well, which is how to find out whether a new test is right."""

import ctypes
import errno
import fcntl
import mmap
import os
import select
import socket
import stat
import struct
import sys
import time
import traceback

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
NOREPLACE, EXCHANGE = 1, 2
KEEP_SIZE, PUNCH, ZERO = 1, 2, 16
AT_FDCWD = -100
tests = []


def test(fn):
    tests.append(fn)
    return fn


def check(rc):
    if rc < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return rc


def renameat2(old, new, flags):
    check(libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def link_open(fd, new):
    check(libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, os.fsencode(new), 0x400))


def fallocate(fd, mode, offset, size):
    check(libc.fallocate(fd, mode, offset, size))


def same(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r:.300}, want {want!r:.300}")


def fails(code, fn, *args, **kw):
    try:
        fn(*args, **kw)
    except OSError as e:
        same(errno.errorcode[e.errno], errno.errorcode[code], f"{fn.__name__}{args!r:.200}")
        return
    raise AssertionError(f"{fn.__name__}{args!r:.200} succeeded, want {errno.errorcode[code]}")


def put(path, data=b""):
    with open(path, "wb") as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def opened(path, flags=os.O_RDWR | os.O_CREAT, mode=0o644):
    return os.open(path, flags, mode)


def as_user(fn, uid=65534, gid=65534, groups=()):
    """Run fn in a child as that user. What it raises is raised here, as text."""
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        text = ""
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            fn()
        except BaseException as e:
            text = f"{e!r}"
        os.write(w, text.encode())
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as f:
        text = f.read()
    os.waitpid(pid, 0)
    if text:
        raise AssertionError("as a user: " + text)


def children(*fns):
    """Run each in a process of its own; all must succeed."""
    pids = []
    for fn in fns:
        pid = os.fork()
        if not pid:
            try:
                fn()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        pids.append(pid)
    same([os.waitpid(p, 0)[1] for p in pids], [0] * len(pids), "children")


def tick():
    """Let ext4's clock, which ticks, pass what is now."""
    CLOCK_REALTIME_COARSE = 5
    now = time.time_ns()
    while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) <= now:
        time.sleep(0.001)


def times(path):
    s = os.lstat(path)
    return s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns


def changed(path, fn):
    """Which of mtime and ctime of `path` fn changes: "", "c", "m", "mc"."""
    before = times(path)
    tick()
    fn()
    after = times(path)
    return "".join(n for n, i in (("m", 1), ("c", 2)) if after[i] != before[i])


UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


def utimensat(path, atime, mtime, flags=0):
    ts = (ctypes.c_long * 4)(*atime, *mtime)
    check(libc.utimensat(AT_FDCWD, os.fsencode(path), ts, flags))


def copy_range(src, dst, n, a, b):
    done = 0
    while done < n:
        k = os.copy_file_range(src, dst, n - done, a + done, b + done)
        if not k:
            break
        done += k
    return done


def child_says(fn):
    """What fn returns in a child: an int below 256."""
    pid = os.fork()
    if not pid:
        os._exit(fn())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main():
    os.chdir(sys.argv[1])
    os.umask(0o022)
    chosen = [t for t in tests if len(sys.argv) < 3 or t.__name__ in sys.argv[2:]]
    failed = 0
    print(f"1..{len(chosen)}")
    for i, t in enumerate(chosen, 1):
        os.mkdir(t.__name__)
        here = os.open(".", os.O_RDONLY)
        os.chdir(t.__name__)
        try:
            t()
            print(f"ok {i} - {t.__name__}")
        except (AssertionError, OSError) as e:
            failed += 1
            print(f"not ok {i} - {t.__name__}")
            where = traceback.extract_tb(e.__traceback__)[1:]
            print("".join(f"#   {f.name}:{f.lineno}: {f.line}\n" for f in where), end="")
            print(f"#   {e}")
        os.fchdir(here)
        os.close(here)
        sys.stdout.flush()
    sys.exit(failed > 0)
