"""Few descriptors: the daemon takes all it may have, and TCP connections leave enough for the rest."""

import os
import signal

from harness import network
from harness.case import Case, world
from harness.client import Stream
from harness.daemon import SINKHOLED, Daemon, environment

SOFT, HARD = 256, 340
OPENED = 90


class Limited(Daemon):
    def start(self, ready=True):
        command = ["prlimit", f"--nofile={SOFT}:{HARD}", SINKHOLED, "-c", self.config_path]
        self.process = network.start(command, self.log_path, env=environment())
        if ready:
            self.wait_ready()


class Descriptors(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = Limited(cls.folder, world(), start=False,
                             lists=[cls.list_file("starter", "listed.org\n", kind="deny")],
                             changes={"limits": {"tcp_per_client": 1000}})
        cls.started.append(cls.daemon)
        cls.daemon.start()

    def test_the_limit_is_raised_as_far_as_may_be(self):
        with open(f"/proc/{self.daemon.process.pid}/limits", encoding="ascii") as file:
            line = next(line for line in file if line.startswith("Max open files"))
        self.assertEqual(line.split()[3:5], [str(HARD), str(HARD)])
        self.assertIn("fewer TCP connections than limits.tcp_clients", self.daemon.log())

    def test_a_recursor_is_replaced_while_connections_take_what_they_may(self):
        streams = []
        try:
            for _ in range(OPENED):
                streams.append(Stream())
            self.until(lambda: self.daemon.metrics().sum("sinkhole_tcp_connections_total",
                                                         result="refused") > 0,
                       "connections over the limit are refused")
            old = self.daemon.recursors()
            os.kill(old[0], signal.SIGKILL)
            self.until(lambda: len(self.daemon.recursors()) == len(old)
                       and old[0] not in self.daemon.recursors(), "another recursor")
            self.daemon.wait_ready()
        finally:
            for stream in streams:
                stream.socket.close()
