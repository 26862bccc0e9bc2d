"""deploy/quickstart, end to end: what it prints works as typed, and Ctrl-C ends it cleanly."""

import os
import re
import signal
import subprocess
import unittest

from harness import network
from harness.case import Case
from harness.daemon import BUILD, SANITIZED, SOURCE, environment
from harness.metrics import get

PROGRAM = os.path.join(SOURCE, "deploy", "quickstart")


@unittest.skipIf(SANITIZED, "quickstart's recursors are sandboxed, which sanitizers can't be")
class Quickstart(Case):
    def start(self, name, *options):
        self.run_folder = os.path.join(self.folder, name)
        self.starts = getattr(self, "starts", 0) + 1
        self.output = f"{self.run_folder}.out{self.starts}"
        self.process = network.start(
            [PROGRAM, "--build", BUILD, "--run", self.run_folder, *options], self.output,
            env=environment())
        self.addCleanup(self.end)
        self.until(lambda: self.process.poll() is not None or "Ctrl-C ends it." in self.said(),
                   "quickstart says what to type", 60)
        self.assertIsNone(self.process.poll(), self.said())

    def said(self):
        with open(self.output, encoding="utf-8") as file:
            return file.read()

    def end(self):
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in self.leftovers():  # lest the tests after this one meet them
                os.kill(int(pid), signal.SIGKILL)
            raise

    def typed(self):
        """The commands it printed."""
        return re.findall(r"^    (\S.*)$", self.said(), re.MULTILINE)

    def type(self, *words):
        """Runs the first printed command that has these words in it, as a person would."""
        command = next(line for line in self.typed() if all(word in line for word in words))
        done = subprocess.run(["sh", "-c", command], cwd=SOURCE, capture_output=True, text=True,
                              timeout=30, check=False)
        self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def assert_ended(self):
        before = self.leftovers()
        self.assertTrue(before)
        self.end()
        self.assertEqual(self.process.returncode, 0, self.said())
        self.assertEqual(self.leftovers(), {})

    def leftovers(self):
        """Processes whose command line names the run's folder, by their id."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().decode(errors="replace")
            except OSError:
                continue
            if self.run_folder in words and ("sinkholed" in words or "redis-server" in words):
                found[pid] = words
        return found

    def test_one_node_answers_and_everything_printed_works(self):
        self.start("one")
        listed = self.type("dig @127.0.0.1 -p 5300")
        self.assertIn("0.0.0.0", listed)
        self.assertIn("Blocked", listed)
        self.assertIn("SERVFAIL", self.type("dig @::1"))
        self.assertIn("sinkhole_queries_total", self.type("curl"))
        self.assertIn("starter", self.type("why"))
        self.type(" block ")
        self.assertIn("0.0.0.0", self.type("www.example.net"))
        self.type("unblock")
        self.assertNotIn("0.0.0.0", self.type("www.example.net"))
        log = next(line for line in self.typed() if line.startswith("tail -f ")).split()[-1]
        self.until(lambda: os.path.getsize(os.path.join(SOURCE, log)) > 0, "the hit log has lines")
        again = subprocess.run([PROGRAM, "--build", BUILD, "--run", self.run_folder],
                               capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(again.returncode, 1)
        self.assertIn("another quickstart is running", again.stderr)
        other = subprocess.run([PROGRAM, "--build", BUILD, "--run", self.run_folder + "-other"],
                               capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(other.returncode, 1)
        self.assertRegex(other.stderr, "(5300|9353).*already in use")
        self.assert_ended()

    def test_what_was_blocked_is_still_blocked_after_a_second_start(self):
        self.start("twice")
        self.type(" block ")
        self.assert_ended()
        self.start("twice")
        self.assertIn("0.0.0.0", self.type("www.example.net"))
        self.assert_ended()

    def test_three_nodes_follow_a_redis_of_their_own(self):
        self.start("three", "--redis")
        for name in ("node.password", "operator.password", "users.acl"):
            mode = os.stat(os.path.join(self.run_folder, "redis", name)).st_mode
            self.assertEqual(mode & 0o077, 0, name)
        self.assertIn("0.0.0.0", self.type("dig @127.0.0.1 -p 5300"))
        self.type(" block ")
        for port in ("5300", "5301", "5302"):
            self.until(lambda port=port: "0.0.0.0" in self.type(f"-p {port} www.example.net"),
                       f"the node on port {port} blocks it")
        nodes = self.type("nodes")
        for name in ("node1", "node2", "node3"):
            self.assertIn(name, nodes)
        self.assertIn("starter", self.type("feed list"))
        for http in (9353, 9354, 9355):
            self.assertEqual(get("/readyz", http)[0], 200)
        self.assert_ended()
        self.start("three", "--redis")
        self.assertIn("0.0.0.0", self.type("-p 5302 www.example.net"))
        self.assert_ended()
