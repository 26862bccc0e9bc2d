#!/usr/bin/python3
"""Runs the system tests: run.py [--build FOLDER] [--sanitized NAME] [--repeat N] [PATTERN...]

They run in a network namespace of their own, against the real daemon, real name servers and a real
Redis. A PATTERN is a part of a test's name. The last line counts what was run.
"""

import argparse
import os
import signal
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", help="folder of the build to test")
    parser.add_argument("--sanitized", default="", choices=["", "address", "thread"],
                        help="the build is one with this sanitizer: no sandbox, more patience")
    parser.add_argument("--repeat", type=int, default=1, help="run everything so many times")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("pattern", nargs="*", help="run only tests whose name has this in it")
    return parser.parse_args()


def sentence(test):
    """Redis: a_rogue_entry_changes_no_answer -> "redis: a rogue entry changes no answer"."""
    module, _, method = test.id().split(".")[-3:]
    return module.removeprefix("test_") + ": " + method.removeprefix("test_").replace("_", " ")


class Result(unittest.TestResult):
    """Prints one line a test, and the reason below it when it failed."""

    def __init__(self):
        super().__init__()
        self.failed = []  # a test with several faults counts once

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def _say(self, word, test, text=""):
        if word == "FAIL" and test not in self.failed[-1:]:
            self.failed.append(test)
        name = sentence(test) if hasattr(test, "_testMethodName") else test.id()
        print(f"{word:4} {time.monotonic() - getattr(self, 'began', time.monotonic()):5.1f} s  {name}")
        if text:
            print("       " + text.rstrip().replace("\n", "\n       "))
        sys.stdout.flush()

    def addSuccess(self, test):
        super().addSuccess(test)
        self._say("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._say("FAIL", test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._say("FAIL", test, self.errors[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._say("skip", test, reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            kept = self.failures if issubclass(err[0], test.failureException) else self.errors
            self._say("FAIL", test, subtest._subDescription() + "\n" + kept[-1][1])


def flatten(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from flatten(part)
        else:
            yield part


def main():
    options = arguments()
    os.environ["SINKHOLE_BUILD"] = os.path.abspath(options.build)
    os.environ["SINKHOLE_SANITIZED"] = options.sanitized
    os.environ["SINKHOLE_PATIENCE"] = {"": "1", "address": "3", "thread": "6"}[options.sanitized]
    from harness import network

    if not options.list:
        network.enter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result = Result()
    for _ in range(options.repeat):
        found = unittest.TestLoader().discover(HERE, "test_*.py", HERE)
        tests = [
            test for test in flatten(found)
            if not options.pattern or any(text in sentence(test) or text in test.id()
                                          for text in options.pattern)
        ]
        if options.list:
            print("\n".join(map(sentence, tests)))
            return 0
        unittest.TestSuite(tests).run(result)
    failed, skipped = len(result.failed), len(result.skipped)
    for test in result.failed:
        print("FAIL", sentence(test) if hasattr(test, "_testMethodName") else test.id())
    passed = max(result.testsRun - failed - skipped, 0)
    print(f"system tests: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or result.testsRun == 0 else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
