#!/usr/bin/env python3
"""Random calls of several users on two filesystems with ACLs, which must answer alike.

usage: acl_calls.py SEED CALLS DIRECTORY DIRECTORY, as root, in two empty directories.

After each call, its result or error and what it was about are compared: type, mode, owner,
group, whether ctime moved, and both ACLs; in the end everything. Bytes of ACLs are random,
and mostly valid. Exits 1 at the first difference.
"""
import errno
import os
import random
import stat
import struct
import sys

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
WHO = [
    (0, 0, []),
    (0, 0, []),
    (1001, 1001, []),
    (1002, 1002, [3001]),
    (1003, 3001, [3000, 3002]),
    (1004, 1004, [7, 3000]),
]
# Mostly directories and mostly files, so that most calls find what they are made for.
DIRECTORIES = ["a", "b", "a/a", "a/b", "b/a", "a/a/a"]
FILES = ["f", "g", "a/f", "a/g", "b/f", "a/a/f", "a/b/f", "a/a/a/f"]


def acl(r):
    """An ACL; one in ten is damaged in some way."""
    users = r.sample([1001, 1002, 1003, 1004], r.choice([0, 0, 1, 1, 2]))
    groups = r.sample([3000, 3001, 3002], r.choice([0, 0, 1, 1, 2]))
    none = 0xFFFFFFFF
    entries = [(1, none)] + [(2, u) for u in users] + [(4, none)] + [(8, g) for g in groups]
    if users or groups or r.random() < 0.2:
        entries.append((16, none))
    entries = [[tag, r.choice([0, 4, 5, 6, 7, 7, 7]), i] for tag, i in entries + [(32, none)]]
    version = 2
    if r.random() < 0.1:
        how = r.randrange(8)
        if how == 0:
            entries.remove(r.choice(entries))
        elif how == 1:
            entries.insert(r.randrange(len(entries)), list(r.choice(entries)))
        elif how == 2:
            r.shuffle(entries)
        elif how == 3:
            r.choice(entries)[1] |= 8 << r.randrange(12)
        elif how == 4:
            r.choice(entries)[0] = r.randrange(65)
        elif how == 5:
            r.choice(entries)[2] = r.choice([none, 0, 5])
        elif how == 6:
            entries = []
        else:
            version = r.choice([0, 1, 3])
    data = struct.pack("<I", version) + b"".join(struct.pack("<HHI", *e) for e in entries)
    return data[: -r.randrange(1, 9)] if r.random() < 0.02 else data


def create(path, mode):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def open_as(path, flags):
    if stat.S_ISFIFO(os.stat(path).st_mode):
        flags |= os.O_NONBLOCK
    os.close(os.open(path, flags))


def call(r):
    """One call: what it is called, what it is about, and a function of the directory."""
    directory, file = r.choice(DIRECTORIES), r.choice(FILES)
    path, other = r.choice([directory, file]), r.choice(DIRECTORIES + FILES)
    mode = r.choice([0o777, 0o666, 0o640, 0o600, 0o2775, 0o6755, 0o1777, 0o700, 0o070, 0])
    kind = DEFAULT if path == directory and r.random() < 0.5 else ACCESS
    value = acl(r)
    # Not neither: see "Where a mount differs from ext4" in tests/README.md.
    owner, group = r.choice([(-1, 1001), (-1, 3000), (-1, 3001), (1001, -1), (1002, 3001)])
    access = r.choice([os.R_OK, os.W_OK, os.X_OK])
    flags = r.choice([os.O_RDONLY, os.O_WRONLY | os.O_TRUNC, os.O_RDWR])

    calls = [
        (6, path, f"setxattr {kind} {value.hex()}", lambda p, o: os.setxattr(p, kind, value)),
        (1, path, f"removexattr {kind}", lambda p, o: os.removexattr(p, kind)),
        (1, path, "listxattr", lambda p, o: sorted(os.listxattr(p))),
        (2, path, f"chmod {mode:o}", lambda p, o: os.chmod(p, mode)),
        (2, path, f"chown {owner} {group}", lambda p, o: os.chown(p, owner, group)),
        (4, file, f"creat {mode:o}", lambda p, o: create(p, mode)),
        (4, directory, f"mkdir {mode:o}", lambda p, o: os.mkdir(p, mode)),
        (1, file, f"mkfifo {mode:o}", lambda p, o: os.mkfifo(p, mode)),
        (0.5, file, "symlink", lambda p, o: os.symlink("f", p)),
        (1, file, f"link {other}", os.link),
        (0.5, path, f"rename {other}", os.rename),
        (2, file, "unlink", lambda p, o: os.unlink(p)),
        (0.5, directory, "rmdir", lambda p, o: os.rmdir(p)),
        (3, path, f"access {access}", lambda p, o: os.access(p, access, effective_ids=True)),
        (3, file, f"open {flags:o}", lambda p, o: open_as(p, flags)),
        (1, directory, "readdir", lambda p, o: sorted(os.listdir(p))),
    ]
    _, about, what, run = r.choices(calls, [c[0] for c in calls])[0]
    return f"{what} {about}", [about, other], run


def attribute(path, name):
    try:
        return os.getxattr(path, name, follow_symlinks=False).hex()
    except OSError as e:
        return errno.errorcode[e.errno]


def state(path):
    try:
        st = os.lstat(path)
    except OSError as e:
        return errno.errorcode[e.errno], 0
    return (
        (oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink)
        + (attribute(path, ACCESS), attribute(path, DEFAULT))
    ), st.st_ctime_ns


def run_as(who, mask, run, paths):
    uid, gid, groups = who
    os.umask(mask)
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        result = run(*paths)
    except OSError as e:
        result = errno.errorcode[e.errno]
    os.seteuid(0)
    os.setegid(0)
    os.setgroups([])
    return result


def both(directories, who, mask, paths, run):
    results = []
    for d in directories:
        full = [os.path.join(d, p) for p in paths]
        before = [state(p) for p in full]
        result = run_as(who, mask, run, full)
        after = [state(p) for p in full]
        moved = [a[1] != b[1] for a, b in zip(after, before)]
        results.append((result, [a[0] for a in after], moved))
    return results


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    directories = sys.argv[3:5]
    r = random.Random(seed)
    log, answers = [], {}
    for d in directories:
        os.chmod(d, 0o777)
    for step in range(count):
        who, mask = r.choice(WHO), r.choice([0o22, 0o77, 0, 0o27])
        what, paths, run = call(r)
        log.append(f"{step}: {who} umask {mask:o}: {what}")
        one, two = both(directories, who, mask, paths, run)
        if one != two:
            print("\n".join(log[-30:]), one, two, sep="\n")
            return 1
        key = what.split()[0], one[0] if isinstance(one[0], str) else "done"
        answers[key] = answers.get(key, 0) + 1
    if os.environ.get("ACL_VERBOSE"):
        for key in sorted(answers, key=str):
            print(*key, answers[key])
    trees = []
    for d in directories:
        paths = [os.path.relpath(os.path.join(p, n), d) for p, ds, fs in os.walk(d) for n in ds + fs]
        trees.append([(p, state(os.path.join(d, p))[0]) for p in sorted(paths)])
    if trees[0] != trees[1]:
        print(*trees, sep="\n")
        return 1
    return 0


sys.exit(main())
