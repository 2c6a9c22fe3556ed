#!/usr/bin/env python3
"""calls_data.py DIR: the content of files: writing, sizes, holes, copies, mappings, limits of size."""

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


class AsyncIO:
    """Linux's asynchronous I/O (io_submit), one write at a time."""

    CALLS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}

    def __init__(self):
        self.setup, self.destroy, self.wait, self.submit = self.CALLS[os.uname().machine]
        self.context = ctypes.c_ulong(0)
        self._call(self.setup, 1, ctypes.byref(self.context))

    def _call(self, number, *args):
        n = libc.syscall(ctypes.c_long(number), *args)
        if n < 0:
            raise OSError(ctypes.get_errno(), "asynchronous I/O")
        return n

    def start_write(self, fd, buf, offset):
        """Start to write `buf`, a mapping that is not changed before finish()."""
        self.size = len(buf)
        address = ctypes.addressof(ctypes.c_char.from_buffer(buf))
        # struct iocb: data, key and flags, opcode 1 (pwrite) and priority, fd, buf, nbytes, offset
        self.control = ctypes.create_string_buffer(
            struct.pack("=QIIHhIQQqQII", 0, 0, 0, 1, 0, fd, address, self.size, offset, 0, 0, 0))
        control = ctypes.c_void_p(ctypes.addressof(self.control))
        same(self._call(self.submit, self.context, ctypes.c_long(1), ctypes.byref(control)), 1)

    def finish(self):
        event = ctypes.create_string_buffer(32)  # struct io_event: data, obj, res, res2
        same(self._call(self.wait, self.context, ctypes.c_long(1), ctypes.c_long(1), event, None), 1)
        same(struct.unpack("=QQqq", event.raw)[2], self.size)

    def close(self):
        self._call(self.destroy, self.context)


@test
def direct_and_asynchronous():
    """A page that is read beside an asynchronous direct write does not stay in the cache."""
    buf = mmap.mmap(-1, 1 << 20)
    direct = opened("f", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_DIRECT)
    same(os.pwritev(direct, [buf], 0), len(buf))
    fd = opened("f")
    aio = AsyncIO()
    for i in range(1, 101):
        buf[:] = bytes([i]) * len(buf)
        aio.start_write(direct, buf, 0)
        os.pread(fd, len(buf), 0)  # beside the write: the old or the new bytes
        aio.finish()
        same(os.pread(fd, len(buf), 0) == buf[:], True, f"write {i}")
    aio.close()


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
    # A block with a byte of data is data as a whole.
    os.ftruncate(fd, 0)
    os.ftruncate(fd, 9 * 4096)
    os.pwrite(fd, b"data", 5 * 4096 - 100)
    os.pwrite(fd, b"data", 9 * 4096 - 100)
    os.fsync(fd)
    same([os.lseek(fd, x, os.SEEK_DATA) for x in (0, 4 * 4096 + 9)], [4 * 4096, 4 * 4096 + 9])
    same(os.lseek(fd, 5 * 4096 - 1, os.SEEK_DATA), 5 * 4096 - 1)
    same([os.lseek(fd, x * 4096 - 50, os.SEEK_HOLE) // 4096 for x in (5, 9)], [5, 9])
    os.close(fd)
    # A small file, which is stored in another way.
    put("s", b"s" * 100)
    fd = opened("s")
    same((os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_HOLE)), (0, 100))
    fails(errno.ENXIO, os.lseek, fd, 100, os.SEEK_DATA)
    os.ftruncate(fd, 8192)
    os.fsync(fd)
    same([os.lseek(fd, x, os.SEEK_HOLE) for x in (0, 100, 5000)], [4096, 4096, 5000])
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


main()
