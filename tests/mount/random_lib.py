"""random_lib.py: what the programs of random calls (random_calls.py, acl_calls.py) share.

Each has a state machine of hypothesis. A rule is a call that some user makes in two directories,
and fails if the results differ. One example is a sequence of calls in new, empty directories. Hypothesis
shortens a sequence that fails to the calls and arguments that it needs, and that is what is printed."""

import itertools
import os
import shutil
import sys
import time

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

STEPS = 100  # calls of an example: enough for a tree of some depth
SHORT = 10  # hypothesis begins with so many examples of a few calls


class Octal(int):
    """A mode, shown as one writes it."""

    def __repr__(self):
        return oct(self)


class Different(AssertionError):
    """The two directories are not the same."""


class TwoDirectories(RuleBasedStateMachine):
    """The directories of one example, `self.roots`; they are removed at its end."""

    parents = ()  # where they are made
    made = 0      # calls, of all examples
    numbers = itertools.count()

    def __init__(self):
        super().__init__()
        self.folders = [os.path.join(d, str(next(self.numbers))) for d in self.parents]
        # A folder within, so that "../a" is not the name of another example.
        self.roots = [os.path.join(d, "in") for d in self.folders]
        self.wrong = False
        for d in self.roots:
            os.makedirs(d)
            os.chmod(d, 0o777)

    def same(self, differences):
        differences = list(differences)
        if differences:
            self.wrong = True
            raise Different("\n".join(differences))

    def compare_all(self):
        """Compare what is not compared after each call."""

    def teardown(self):
        try:
            if not self.wrong:
                self.compare_all()
        finally:
            for d in self.folders:
                shutil.rmtree(d)


def run(machine, number, count):
    """Make at least `count` random calls, the same ones for the same `number`. Exits with 1, and prints
    the shortest sequence that was found, if there is a difference."""
    started = time.monotonic()
    for part in itertools.count():
        if machine.made >= count:
            break
        options = settings(
            max_examples=SHORT + (count - machine.made) // STEPS + 1, stateful_step_count=STEPS,
            phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False, print_blob=False,
            database=None, deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                                   HealthCheck.filter_too_much, HealthCheck.large_base_example])
        try:
            run_state_machine_as_test(seed(f"{number}.{part}")(machine), settings=options)
        except Different as e:
            print(e, *getattr(e, "__notes__", ()), sep="\n")
            sys.exit(1)
    print(f"{machine.made} calls in {time.monotonic() - started:.1f} s")
