"""The configuration: what is wrong is named with file and line, what is right is taken on."""

import os
import re
import signal
import subprocess
import threading

from harness.case import Case
from harness.client import rcode, records
from harness.daemon import RECURSOR, SINKHOLE4, SINKHOLED, environment

# text, the line of the fault, words the message must have
FAULTS = [
    ("limits:\n  udp_size: 100\n", 2, ["limits.udp_size", "512"]),
    ("limits:\n  udp_size: many\n", 2, ["limits.udp_size"]),
    ("limits:\n  udp_sise: 1232\n", 2, ["udp_sise", "udp_size"]),
    ("nod:\n  name: x\n", 1, ["nod", "node"]),
    ("node: {name: x\n", 2, []),
    ("node:\n\tname: x\n", 2, []),
    ("listen:\n  - {address: 127.0.0.1}\n", 2, ["address", "127.0.0.1"]),
    ("listen:\n  - {address: 127.0.0.1@99999}\n", 2, ["99999"]),
    ("listen:\n  - {address: 127.0.0.1@53, protocols: [tls]}\n", 2, ["tls", "not in this version"]),
    ("recursion:\n  forward:\n    - {zone: corp.example, to: [10.1.1.1]}\n", 2,
     ["recursion.forward", "not in this version"]),
    ("cache:\n  size: 5Q\n", 2, ["cache.size", "5Q"]),
    ("cache:\n  max_ttl: soon\n", 2, ["cache.max_ttl", "soon"]),
    ("access:\n  allow:\n    - 10.0.0.0/8\n    - 10.0.0.0/40\n", 4, ["10.0.0.0/40"]),
    ("sinkhole:\n  action: explode\n", 2, ["sinkhole.action", "explode", "nxdomain"]),
    ("sinkhole:\n  ipv4: [\"::1\"]\n", 2, ["::1"]),
    ("list:\n  files:\n    - {feed: Bad Name, path: /x}\n", 3, ["Bad Name"]),
    ("list:\n  files:\n    - {feed: x}\n", 3, ["path"]),
    ("hits:\n  outputs:\n    - {type: syslog}\n", 3, ["syslog", "not in this version"]),
    ("recursion:\n  dnssec: perhaps\n", 2, ["recursion.dnssec", "perhaps"]),
    ("node:\n  name: a\n  name: b\n", 3, ["name"]),
    ("node: [1, 2]\n", 1, ["node"]),
    ("redis:\n  tls: {ca: /x}\n", 2, ["redis.tls", "not in this version"]),
    ("http:\n  dashboard: true\n", 2, ["dashboard", "not in this version"]),
]


def run(*words, **variables):
    return subprocess.run([SINKHOLED, *words], capture_output=True, text=True, check=False,
                          timeout=60, env={**environment(), **variables})


class Check(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.path = os.path.join(cls.folder, "checked.yaml")

    def check(self, text, **variables):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        return run("-c", self.path, "--check-config", **variables)

    def test_each_kind_of_fault_is_named_with_file_and_line(self):
        for text, line, words in FAULTS:
            with self.subTest(text):
                done = self.check(text)
                said = done.stdout + done.stderr
                self.assertNotEqual(done.returncode, 0, said)
                self.assertIn(f"{self.path}:{line}", said)
                for word in words:
                    self.assertIn(word, said)

    def test_what_is_right_passes(self):
        for text in ("", "node: {name: a}\n", "cache: {size: 64M, max_ttl: 2h}\n",
                     "# only a comment\n", "listen:\n  - address: \"::1@5300\"\n"):
            with self.subTest(text):
                done = self.check(text)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_file_that_is_not_there_is_named(self):
        done = run("-c", "/nonexistent/sinkholed.yaml", "--check-config")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/nonexistent/sinkholed.yaml", done.stdout + done.stderr)

    def test_the_environment_overrides_a_scalar_and_its_faults_are_named(self):
        self.assertEqual(self.check("", SINKHOLE_LIMITS_UDP_SIZE="1400").returncode, 0)
        done = self.check("", SINKHOLE_LIMITS_UDP_SIZE="9")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("SINKHOLE_LIMITS_UDP_SIZE", done.stdout + done.stderr)

    def test_the_documented_example_is_right_or_says_what_is_not_in_this_version(self):
        here = os.path.dirname(os.path.abspath(__file__))
        example = os.path.join(here, "..", "..", "deploy", "sinkholed.yaml")
        done = run("-c", example, "--check-config")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_help_and_version_say_what_they_should(self):
        done = run("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("--check-config", "--version", "-c"):
            self.assertIn(word, done.stdout)
        done = run("--version")
        self.assertEqual(done.returncode, 0)
        for library in ("libuv", "hiredis", "libmicrohttpd"):
            self.assertIn(library, done.stdout)
        recursor = subprocess.run([RECURSOR, "--version"], capture_output=True, text=True, check=False)
        self.assertEqual(recursor.returncode, 0)
        self.assertIn("libunbound", recursor.stdout)
        self.assertTrue(re.search(r"\d+\.\d+\.\d+", done.stdout))
        self.assertEqual(run("--nonsense").returncode, 2)

    def test_a_port_in_use_ends_the_start_with_its_address(self):
        self.daemon = self.run_daemon(name="first")
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(f"node: {{state_dir: {self.folder}, control: {self.folder}/c.sock}}\n"
                       "listen: [{address: 127.0.0.1@9353}]\n"
                       "http: {listen: [127.0.0.1@9353]}\n")
        done = run("-c", self.path)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("9353", done.stderr)
        self.daemon.stop()


class Reload(Case):
    def setUp(self):
        self.list_path = self.write("list.txt", "listed.org\n")
        self.daemon = self.run_daemon(
            name=self._testMethodName[5:40],
            lists=[{"feed": "starter", "path": self.list_path, "kind": "deny"}])

    def tearDown(self):
        self.daemon.stop()

    def test_list_files_are_read_again(self):
        self.assert_resolved(self.ask("www.insecure.example"), "A", ["198.18.1.2"])
        self.write("list.txt", "insecure.example\n")
        self.daemon.reload()
        self.until(lambda: records(self.ask("www.insecure.example"), "A") == [SINKHOLE4],
                   "the new name is blocked")
        self.assert_resolved(self.ask("www.listed.org"), "A", ["198.18.5.1"])

    def test_a_list_file_that_is_gone_keeps_its_names(self):
        os.unlink(self.list_path)
        self.daemon.ctl_run("reload")
        self.assert_sinkholed(self.ask("listed.org"))
        self.assertIsNone(self.daemon.process.poll())

    def test_live_options_are_taken_on_and_others_named_as_needing_a_restart(self):
        self.daemon.write_config({"sinkhole": {"ipv4": ["192.0.2.99"], "ttl": "33s"},
                                  "limits": {"udp_size": 1400}})
        answer = self.daemon.ctl("reload")
        self.assertIn("sinkhole.ipv4", answer["changed"])
        self.assertIn("sinkhole.ttl", answer["changed"])
        self.assertIn("limits.udp_size", answer["restart"])
        self.assertEqual(records(self.ask("listed.org"), "A"), ["192.0.2.99"])

    def test_access_is_live(self):
        self.daemon.write_config({"access": {"allow": ["127.0.0.1/32", "::1/128"]}})
        self.daemon.ctl("reload")
        self.assertEqual(rcode(self.ask("listed.org", source="127.0.0.2")), "REFUSED")
        self.assert_sinkholed(self.ask("listed.org"))

    def test_a_faulty_configuration_is_refused_and_the_old_one_holds(self):
        with open(self.daemon.config_path, "a", encoding="utf-8") as file:
            file.write("limits: {udp_size: 1}\n")
        done = self.daemon.ctl_run("reload")
        self.assertEqual(done.returncode, 1)
        self.assertIn(self.daemon.config_path, done.stderr + done.stdout)
        self.daemon.reload()
        self.until(lambda: self.daemon.config_path + ":" in self.daemon.log(), "the log names it")
        self.assert_sinkholed(self.ask("listed.org"))

    def test_reloads_lose_no_question(self):
        stop = threading.Event()
        answers, failures = [], []

        def load(number):
            while not stop.is_set():
                try:
                    answer = self.ask("listed.org", server="::1" if number % 2 else "127.0.0.1",
                                      tcp=number == 0, seconds=3)
                    answers.append(records(answer, "A"))
                except Exception as error:
                    failures.append(repr(error))

        threads = [threading.Thread(target=load, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(20):
                self.daemon.write_config({"sinkhole": {"ttl": f"{number + 1}s"}})
                if number % 2:
                    self.daemon.reload()
                else:
                    self.daemon.ctl("reload")
                done = len(answers)
                self.until(lambda done=done: len(answers) > done + 8, "questions are answered")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        self.assertEqual([answer for answer in answers if answer != [SINKHOLE4]], [])


class End(Case):
    def test_sigterm_and_sigint_end_it_with_status_0(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            daemon = self.run_daemon(name=f"end{number}")
            recursors = daemon.recursors()
            daemon.process.send_signal(number)
            self.assertEqual(daemon.process.wait(15), 0)
            self.assertFalse(os.path.exists(daemon.control))
            for pid in recursors:
                self.assertFalse(os.path.exists(f"/proc/{pid}"), "a recursor is left")

    def test_recursors_end_with_a_daemon_that_is_killed(self):
        daemon = self.run_daemon(name="killed")
        recursors = daemon.recursors()
        self.assertTrue(recursors)
        daemon.kill()
        self.until(lambda: not any(alive(pid) for pid in recursors), "they end with it")
        daemon.start()
        daemon.stop()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
