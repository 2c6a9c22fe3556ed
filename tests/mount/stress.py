#!/usr/bin/env python3
"""One of several processes that change files on a mount at the same time.

    stress.py DIR NUMBER STEPS

Each has a directory of its own, keeps a dictionary of the contents there, and compares
after each step. All share another directory. A call there may fail because another process
was faster, but for no other reason. What is read there always comes from one writer alone.
"""
import errno
import mmap
import os
import random
import sys

RACES = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.EBUSY}
SIZE = 6000  # beyond what is kept in the record, and what goes to segments


class Own:
    """A directory of which everything is known."""

    def __init__(self, path, rng):
        self.path, self.rng, self.files = path, rng, {}
        os.mkdir(path)

    def at(self, name):
        return os.path.join(self.path, name)

    def write(self, name):
        data = bytes([self.rng.randrange(256)]) * self.rng.choice([1, 100, 3000, SIZE, 200000])
        offset = self.rng.choice([0, 0, 10, SIZE])
        old = self.files.get(name, b"")
        with open(os.open(self.at(name), os.O_RDWR | os.O_CREAT), "r+b", 0) as f:
            f.seek(offset)
            f.write(data)
        if offset > len(old):
            old += bytes(offset - len(old))
        self.files[name] = old[:offset] + data + old[offset + len(data):]

    def mapped(self, name):
        if len(self.files.get(name, b"")) < 10:
            return
        with open(self.at(name), "r+b", 0) as f, mmap.mmap(f.fileno(), 0) as m:
            m[3:7] = b"mmap"
        self.files[name] = self.files[name][:3] + b"mmap" + self.files[name][7:]

    def truncate(self, name):
        if name in self.files:
            size = self.rng.choice([0, 5, 2048, 5000])
            os.truncate(self.at(name), size)
            self.files[name] = (self.files[name] + bytes(size))[:size]

    def rename(self, name):
        to = "r%d" % self.rng.randrange(8)
        if name in self.files and to != name:
            os.rename(self.at(name), self.at(to))
            self.files[to] = self.files.pop(name)

    def unlink(self, name):
        if name in self.files:
            with open(self.at(name), "rb") as f:
                os.unlink(self.at(name))
                self.same(f.read(), self.files.pop(name), name)

    def attribute(self, name):
        if name in self.files:
            value = self.rng.randbytes(self.rng.choice([0, 10, 5000]))
            os.setxattr(self.at(name), "user.stress", value)
            self.same(os.getxattr(self.at(name), "user.stress"), value, name)

    def same(self, got, want, name):
        if got != want:
            sys.exit("%s: %d bytes, not the %d there should be" %
                     (self.at(name), len(got), len(want)))

    def compare(self, name):
        if name in self.files:
            with open(self.at(name), "rb") as f:
                self.same(f.read(), self.files[name], name)
        if sorted(os.listdir(self.path)) != sorted(self.files):
            sys.exit("%s: lists %s, not %s" % (self.path, sorted(os.listdir(self.path)),
                                               sorted(self.files)))

    def step(self):
        what = self.rng.choice([self.write, self.write, self.mapped, self.truncate, self.rename,
                                self.unlink, self.attribute])
        name = "r%d" % self.rng.randrange(8)
        what(name)
        self.compare(name)


def shared_step(path, rng):
    """A file there is written under a private name first, and then renamed."""
    a, b = (os.path.join(path, "s%d" % rng.randrange(12)) for _ in range(2))
    d = os.path.join(path, "d%d" % rng.randrange(3))
    what = rng.randrange(8)
    if what < 2:
        mine = os.path.join(path, "new%d" % os.getpid())
        with open(mine, "wb") as f:
            f.write(bytes([rng.randrange(1, 256)]) * SIZE)
        os.rename(mine, a)
    elif what == 2:
        os.link(a, b)
    elif what == 3:
        os.unlink(a)
    elif what == 4:
        os.mkdir(d)
    elif what == 5:
        os.rename(a, os.path.join(d, os.path.basename(b)))
    elif what == 6:
        for name in os.listdir(d):
            os.unlink(os.path.join(d, name))
        os.rmdir(d)
    else:
        with open(a, "rb") as f:
            data = f.read()
        if len(data) != SIZE or data.count(data[0]) != SIZE:
            sys.exit("%s: mixed content" % a)


def main():
    path, number, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(number)
    own = Own(os.path.join(path, "own%d" % number), rng)
    for _ in range(steps):
        own.step()
        try:
            shared_step(os.path.join(path, "shared"), rng)
        except OSError as e:
            if e.errno not in RACES:
                raise


main()
