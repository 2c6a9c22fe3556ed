#!/usr/bin/env python3
"""Put deliberate mistakes into the code, one at a time, and see that a test fails for each.

The mistakes are in the *.list files beside this one. An entry of a list:

    [name] The rule that the code breaks with the mistake in it. It may go on in
      lines that are set in.
    file: lsm/wal.c
    - the text there, exactly once
    + what stands in its place; without such a line, nothing
    tests: tests/lsm/test_wal.c
    ci: yes
    reason: why it is no mistake after all

The old text begins and ends between words, and any white space may be between those, so an
entry outlives a new layout. "ci" is there for the few that CI tries, "reason" only where no
test can tell the code from the right one.

Every worker has a copy of the tree (what git lists, so what is not committed too) and a
build folder of its own below the scratch folder; nothing is built or changed in the tree
itself. Both stay there, so that the next run builds little. The tests are run unchanged
first: what fails then would tell nothing. For each mistake the copy is changed, what the
named tests need is built, and they are run. A mistake is

  caught     every test named fails; a crash is a failure, and so is taking much longer
             than without the mistake
  survives   a test named passes. Right only with a reason in the list
  does not build

What the last test said stays in the folder logs of the scratch folder, by the mistake's name.

The exit status is 0 if every mistake is caught or has its reason, 1 if one is not or does
not build, 2 if a list or a test is wrong.
"""

import argparse
import fnmatch
import glob
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# Far above what a build takes.
BUILD_TIMEOUT_S = 900
# A test may take so many times as long as without the mistake, and a while more.
SLOWER = 8
SLOWER_S = float(os.environ.get("SLOWER_S", "20"))
# Of the output of what failed, the end is shown.
TAIL_LINES = 15
# Only these change how a copy is built: a shorter compilation, and no error by a warning.
BUILD_FLAGS = ["CFLAGS=-O1 -g0", "WERROR="]


class Wrong(Exception):
    """A list, or a test, is not as it should be."""


class Mistake:
    """One entry of a list."""

    def __init__(self, place, name, rule):
        self.place, self.name, self.rule = place, name, rule
        self.file, self.tests, self.reason, self.ci = None, [], "", False
        self.old, self.new = [], []

    def pattern(self):
        """The old text: whole words, with any white space between them."""
        text = " ".join(self.old).strip()
        pattern = r"\s+".join(re.escape(word) for word in text.split())
        before = r"(?<!\w)" if re.match(r"\w", text) else ""
        behind = r"(?!\w)" if re.search(r"\w$", text) else ""
        return re.compile(before + pattern + behind)

    def apply(self, text):
        """`text` with the mistake in it."""
        found = list(self.pattern().finditer(text))
        if len(found) != 1:
            raise Wrong(f"{self.place}: {self.name}: the old text is {len(found)} times in "
                        f"{self.file}, not once")
        return text[:found[0].start()] + "\n".join(self.new) + text[found[0].end():]


# ---- the lists ----

def parse_list(path):
    """The mistakes of one list. Raises Wrong with the line that is not understood."""
    mistakes, entry = [], None
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line, place = line.rstrip("\n"), f"{path}:{number}"
            head = re.fullmatch(r"\[([a-z0-9-]+)\] (.+)", line)
            field = re.fullmatch(r"(file|tests|reason|ci): *(.*)", line)
            if not line.strip() or line.startswith("#"):
                continue
            if head:
                entry = Mistake(place, head[1], head[2])
                mistakes.append(entry)
            elif entry is None:
                raise Wrong(f"{place}: not within an entry: {line}")
            elif field and field[1] == "tests":
                entry.tests += field[2].split()
            elif field and field[1] == "ci":
                entry.ci = field[2] == "yes"
            elif field:
                setattr(entry, field[1], field[2])
            elif line[0] in "-+" and line[1:2] in ("", " ", "\t"):
                (entry.old if line[0] == "-" else entry.new).append(line[1:].strip())
            elif line.startswith(" ") and not entry.file:
                entry.rule += " " + line.strip()
            elif line.startswith(" ") and entry.reason:
                entry.reason += " " + line.strip()
            else:
                raise Wrong(f"{place}: not understood: {line}")
    return mistakes


def read_lists(folder, root):
    """All mistakes of the lists in `folder`, sorted by file; raises Wrong if one is out of date."""
    mistakes, names, wrong = [], set(), []
    for path in sorted(glob.glob(os.path.join(folder, "*.list"))):
        mistakes += parse_list(path)
    for m in mistakes:
        try:
            if m.name in names:
                raise Wrong(f"{m.place}: {m.name}: there are two of this name")
            names.add(m.name)
            if not m.file or not m.tests or not m.old:
                raise Wrong(f"{m.place}: {m.name}: it needs a file, an old text and tests")
            for needed in [m.file] + m.tests:
                if not os.path.isfile(os.path.join(root, needed)):
                    raise Wrong(f"{m.place}: {m.name}: there is no {needed}")
            with open(os.path.join(root, m.file), encoding="utf-8") as f:
                text = f.read()
            if m.apply(text) == text:
                raise Wrong(f"{m.place}: {m.name}: it changes nothing")
        except Wrong as w:
            wrong.append(str(w))
    if wrong:
        raise Wrong("\n".join(wrong))
    if not mistakes:
        raise Wrong(f"{folder}: no mistakes there")
    return sorted(mistakes, key=lambda m: m.file)


# ---- a copy of the tree ----

def write_if_changed(path, data):
    """Leave a file alone that is right already, so that make builds nothing for it."""
    try:
        with open(path, "rb") as f:
            if f.read() == data:
                return
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


class Copy:
    """A copy of the tree, its build folder, and what is run in it."""

    mount_lock = threading.Lock()  # tests that mount run one at a time, as with make check

    def __init__(self, root, folder):
        self.tree = os.path.join(folder, "tree")
        self.tmp = os.path.join(folder, "tmp")
        shutil.rmtree(self.tmp, ignore_errors=True)
        os.makedirs(self.tmp)
        listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=root,
                                stdout=subprocess.PIPE, check=True).stdout
        kept = set()
        for name in listed.decode().split("\0"):
            source = os.path.join(root, name)
            if not os.path.isfile(source):
                continue
            kept.add(name)
            with open(source, "rb") as f:
                write_if_changed(os.path.join(self.tree, name), f.read())
            shutil.copymode(source, os.path.join(self.tree, name))
        for where, _, files in os.walk(self.tree):
            for name in files:
                name = os.path.relpath(os.path.join(where, name), self.tree)
                if name not in kept and not name.startswith("build/"):
                    os.unlink(os.path.join(self.tree, name))

    def take_build(self, other):
        """Begin with what another copy has built, instead of building all of it again."""
        if not os.path.exists(os.path.join(self.tree, "build")):
            shutil.copytree(os.path.join(other.tree, "build"), os.path.join(self.tree, "build"))

    def build(self, tests, jobs=1):
        """Build what the tests need. Returns None, or what the compiler said."""
        command = ["make", "-s", f"-j{jobs}", "BUILD=build", *BUILD_FLAGS, "build-tests",
                   "TESTS=" + " ".join(tests)]
        environment = {k: v for k, v in os.environ.items()
                       if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
        made = subprocess.run(command, cwd=self.tree, env=environment, timeout=BUILD_TIMEOUT_S,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return None if made.returncode == 0 else made.stdout.decode(errors="replace")

    def test(self, test, timeout_s):
        """Run one test. Returns whether it passed, how long it took, and what it said."""
        if not test.startswith("tests/mount/"):
            return self.run(test, timeout_s)
        with self.mount_lock:
            try:
                return self.run(test, timeout_s)
            finally:
                self.clean_up()

    def run(self, test, timeout_s):
        program = re.sub(r"^(.*)\.c$", r"build/\1.t", test)
        environment = dict(os.environ, BUILD=os.path.join(self.tree, "build"), TMPDIR=self.tmp,
                           VARVE=os.path.join(self.tree, "build", "varve"),
                           TEST_TIMEOUT=str(int(timeout_s)))
        start = time.monotonic()
        ran = subprocess.run(["bash", "tests/run", program], cwd=self.tree, env=environment,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, check=False)
        said = ran.stdout.decode(errors="replace")
        passed = ran.returncode == 0 and not re.search(r"^(not ok|Bail out)", said, re.M)
        return passed, time.monotonic() - start, said

    def clean_up(self):
        """Take away the mounts, and end the daemons, that a test has left which was ended."""
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            mounts = [re.sub(r"\\([0-7]{3})", lambda c: chr(int(c[1], 8)), line.split()[4])
                      for line in f]
        left = [path for path in mounts if path.startswith(self.tmp + "/")]
        for path in reversed(left):
            if subprocess.run(["umount", "-l", path], check=False,
                              stderr=subprocess.DEVNULL).returncode:
                subprocess.run(["fusermount3", "-u", "-z", path], check=False,
                               stderr=subprocess.DEVNULL)
        for exe in glob.glob("/proc/[0-9]*/exe"):
            try:
                if os.readlink(exe).startswith(os.path.join(self.tree, "build") + "/"):
                    os.kill(int(exe.split("/")[2]), signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(self.tmp, ignore_errors=True)
        os.makedirs(self.tmp, exist_ok=True)

    def with_mistake(self, mistake, seconds):
        """Try one mistake. Returns "caught", "survives" or "does not build", and the words."""
        path = os.path.join(self.tree, mistake.file)
        with open(path, encoding="utf-8") as f:
            right = f.read()
        try:
            with open(path, "w", encoding="utf-8") as f:
                f.write(mistake.apply(right))
            said = self.build(mistake.tests)
            if said is not None:
                return "does not build", said
            for test in mistake.tests:
                passed, _, said = self.test(test, seconds[test] * SLOWER + SLOWER_S)
                if passed:
                    return "survives", f"{said}\n{test} passes"
            return "caught", said
        finally:
            with open(path, "w", encoding="utf-8") as f:
                f.write(right)


# ---- all of it ----

def tail(text):
    """The last lines of a text, set in."""
    return "".join(f"    {line}\n" for line in text.splitlines()[-TAIL_LINES:])


def each(items, copies, work):
    """Call work(copy, item) for all items, beside each other in the copies."""
    todo, errors = queue.Queue(), []
    for item in items:
        todo.put(item)

    def worker(copy):
        try:
            while not errors:
                work(copy, todo.get_nowait())
        except queue.Empty:
            pass
        except BaseException as e:  # pylint: disable=broad-except
            errors.append(e)

    threads = [threading.Thread(target=worker, args=(copy,)) for copy in copies]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def baseline(copies, tests):
    """Build, and run the tests as they are. Returns how long each takes."""
    seconds = {}

    def build(copy):
        said = copy.build(tests, jobs=os.cpu_count() or 1)
        if said is not None:
            raise Wrong("the tree does not build without a mistake:\n" + tail(said))

    def run(copy, test):
        passed, seconds[test], said = copy.test(test, 3600)
        if not passed:
            raise Wrong(f"{test} fails without a mistake:\n" + tail(said))

    build(copies[0])
    for copy in copies[1:]:
        copy.take_build(copies[0])
        build(copy)
    each(tests, copies, run)
    return seconds


def try_all(mistakes, copies, seconds, logs):
    """Try all mistakes. Returns how many there were of each kind."""
    os.makedirs(logs, exist_ok=True)
    counts = {"caught": 0, "reason": 0, "survives": 0, "does not build": 0}
    lock = threading.Lock()

    def one(copy, mistake):
        start = time.monotonic()
        outcome, said = copy.with_mistake(mistake, seconds)
        with open(os.path.join(logs, mistake.name), "w", encoding="utf-8") as f:
            f.write(said)
        with lock:
            took = time.monotonic() - start
            print(f"{outcome:14} {mistake.name} ({took:.1f} s)", flush=True)
            if outcome == "survives" and mistake.reason:
                counts["reason"] += 1
                print(f"    no mistake: {mistake.reason}", flush=True)
                return
            counts[outcome] += 1
            if outcome == "caught" and mistake.reason:
                print(f"    {mistake.place}: it has a reason not to be, which is wrong", flush=True)
            elif outcome != "caught":
                print(f"    {mistake.place}: {mistake.rule}\n" +
                      tail(said if outcome == "does not build" else said.splitlines()[-1]),
                      end="", flush=True)

    each(mistakes, copies, one)
    return counts


def main():
    """See the top."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="only see that the lists fit")
    parser.add_argument("--ci", action="store_true", help="only those that are marked for CI")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(HERE)),
                        help="the tree; its lists are in tests/mutants")
    parser.add_argument("--scratch", help="where the copies are (ROOT/build-mutants)")
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="only those of such names")
    o = parser.parse_args()
    root = os.path.abspath(o.root)
    scratch = os.path.abspath(o.scratch or os.path.join(root, "build-mutants"))
    try:
        mistakes = read_lists(os.path.join(root, "tests", "mutants"), root)
        chosen = [m for m in mistakes if (m.ci or not o.ci) and
                  (not o.patterns or any(fnmatch.fnmatch(m.name, p) for p in o.patterns))]
        if not chosen:
            raise Wrong("no mistake has such a name: " + " ".join(o.patterns))
        if o.check:
            print(f"{len(mistakes)} mistakes, all of which fit the code")
            return 0
        tests = sorted({test for m in chosen for test in m.tests})
        workers = range(max(1, min(o.jobs, len(chosen))))
        copies = [Copy(root, os.path.join(scratch, str(i))) for i in workers]
        seconds = baseline(copies, tests)
        counts = try_all(chosen, copies, seconds, os.path.join(scratch, "logs"))
    except Wrong as w:
        print(f"mutants: {w}", file=sys.stderr)
        return 2
    print(f"{len(chosen)} mistakes: {counts['caught']} caught, {counts['reason']} survive with a "
          f"reason, {counts['survives']} survive, {counts['does not build']} do not build")
    return 1 if counts["survives"] or counts["does not build"] else 0


if __name__ == "__main__":
    sys.exit(main())
