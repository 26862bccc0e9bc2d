"""HTTP and the control socket: metrics, health, readiness, and what they keep to themselves."""

import json
import os
import socket
import stat
import subprocess

from harness.case import Case
from harness.metrics import get

FAMILIES = ["sinkhole_queries_total", "sinkhole_answers_total", "sinkhole_responses_total",
            "sinkhole_dropped_total", "sinkhole_cache_hits_total", "sinkhole_cache_misses_total",
            "sinkhole_recursion_questions_total", "sinkhole_blocklist_names",
            "sinkhole_blocklist_entries", "sinkhole_blocklist_revision", "sinkhole_hits_total",
            "sinkhole_hits_by_country_total", "sinkhole_tcp_connections_total"]


class Http(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.run_daemon(lists=[cls.list_file("starter", "listed.org\nx.org\n", kind="deny")])

    def test_metrics_are_as_promtool_wants_them(self):
        for name in ("listed.org", "www.secure.example", "nothing.secure.example"):
            self.ask(name)
            self.ask(name, tcp=True, server="::1")
        self.until(lambda: self.daemon.metrics().sum("sinkhole_hits_total") > 0, "hits are counted")
        text = self.daemon.metrics().text
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                              text=True, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_every_promised_family_is_there(self):
        self.ask("listed.org")
        self.until(lambda: self.daemon.metrics().sum("sinkhole_hits_total") > 0, "hits are counted")
        metrics = self.daemon.metrics()
        missing = [family for family in FAMILIES if not metrics.has(family)]
        self.assertEqual(missing, [])

    def test_counters_rise_by_what_was_asked(self):
        before = self.daemon.metrics()
        for tcp, server in ((False, "127.0.0.1"), (True, "127.0.0.1"), (False, "::1"), (True, "::1")):
            for _ in range(5):
                self.ask("listed.org", tcp=tcp, server=server)

        def risen():
            now = self.daemon.metrics()
            return all(
                now.sum("sinkhole_queries_total", proto=proto, family=family)
                - before.sum("sinkhole_queries_total", proto=proto, family=family) == 5
                for proto in ("udp", "tcp") for family in ("4", "6"))

        self.until(risen, "five questions by each door")

    def test_health_and_readiness(self):
        self.assertEqual(get("/healthz"), (200, "ok\n"))
        self.assertEqual(get("/readyz"), (200, "ready\n"))

    def test_other_paths_and_methods_are_refused(self):
        self.assertEqual(get("/")[0], 404)
        self.assertEqual(get("/api/v1/status")[0], 404)
        self.assertEqual(get("/../etc/passwd")[0], 404)
        self.assertEqual(raw(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")[:12],
                         b"HTTP/1.1 405")
        self.assertEqual(raw(b"POST /api/v1/block HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")[9:10],
                         b"4")

    def test_rubbish_on_the_http_port_does_no_harm(self):
        for octets in (b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                       b"GET /metrics HTTP/1.1\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n"):
            raw(octets)
        self.assertEqual(get("/healthz")[0], 200)

    def test_an_unread_scrape_stalls_no_question(self):
        doors = []
        for _ in range(10):
            door = socket.create_connection(("127.0.0.1", 9353))
            door.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            doors.append(door)
        self.assert_sinkholed(self.ask("listed.org", seconds=1))
        self.assertEqual(get("/healthz")[0], 200)
        for door in doors:
            door.close()

    def test_the_control_socket_is_for_its_owner_and_group(self):
        mode = os.stat(self.daemon.control).st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o660)


def raw(octets):
    with socket.create_connection(("127.0.0.1", 9353)) as door:
        door.settimeout(3)
        try:
            door.sendall(octets)
            return door.recv(4096)
        except OSError:
            return b""


class Ctl(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.run_daemon(lists=[
            cls.list_file("starter", "listed.org\n", kind="deny", label="Public", category="malware"),
            cls.list_file("exceptions", "free.listed.org\n", kind="allow", tier="operator")])

    def test_status_shows_the_node(self):
        self.ask("listed.org")
        status = self.daemon.ctl("status")
        self.assertEqual(status["node"], self.daemon.name)
        self.assertTrue(status["ready"])
        self.assertEqual(status["pid"], self.daemon.process.pid)
        self.assertEqual(status["list"]["names"], 2)
        self.assertEqual({r["pid"] for r in status["recursors"]}, set(self.daemon.recursors()))
        text = self.daemon.ctl_run("status")
        self.assertEqual(text.returncode, 0)
        self.assertIn(self.daemon.name, text.stdout)

    def test_why_explains_each_rule(self):
        blocked = self.daemon.ctl("why", "x.listed.org", "--type", "MX")
        self.assertEqual((blocked["decision"], blocked["feed"], blocked["label"]),
                         ("block", "starter", "Public"))
        freed = self.daemon.ctl("why", "free.listed.org")
        self.assertEqual(freed["decision"], "resolve")
        self.assertEqual(len(freed["rules"]), 2)
        self.assertEqual({rule["feed"] for rule in freed["rules"]}, {"starter", "exceptions"})
        self.assertIn("exceptions", self.daemon.ctl_run("why", "free.listed.org").stdout)
        self.assertNotEqual(self.daemon.ctl_run("why", "not..a..name").returncode, 0)

    def test_why_gives_the_answer_that_a_client_gets(self):
        said = self.daemon.ctl("why", "listed.org")["answer"]
        self.assertTrue(any("192.0.2.254" in line for line in said), said)

    def test_metrics_and_nodes(self):
        done = self.daemon.ctl_run("metrics", "sinkhole_queries")
        self.assertEqual(done.returncode, 0)
        self.assertIn("sinkhole_queries_total", done.stdout)
        self.assertNotIn("sinkhole_answers_total", done.stdout)
        nodes = self.daemon.ctl("nodes")["nodes"]
        self.assertEqual([node["name"] for node in nodes], [self.daemon.name])

    def test_feeds_are_listed(self):
        feeds = {feed["name"]: feed for feed in self.daemon.ctl("feed", "list")["feeds"]}
        self.assertEqual(feeds["starter"]["entries"], 1)
        self.assertEqual(feeds["exceptions"]["kind"], "allow")

    def test_what_is_not_built_is_refused_as_not_in_this_version(self):
        for words in (["audit"], ["block", "x.example.org", "--for", "7d"], ["feed", "export", "starter"]):
            with self.subTest(words):
                done = self.daemon.ctl_run(*words)
                self.assertEqual(done.returncode, 2)
                self.assertIn("not in this version", done.stderr)

    def test_mistakes_are_usage_errors(self):
        for words in ([], ["blok", "x.org"], ["block"], ["status", "more"], ["--nonsense"]):
            with self.subTest(words):
                done = self.daemon.ctl_run(*words)
                self.assertEqual(done.returncode, 2, done.stdout)

    def test_a_daemon_that_is_away_is_named(self):
        done = self.daemon.ctl_run("status", control="/nonexistent/control.sock")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent/control.sock", done.stderr)

    def test_json_is_one_document(self):
        for words in (["status"], ["why", "listed.org"], ["nodes"], ["feed", "list"], ["reload"]):
            with self.subTest(words):
                json.loads(self.daemon.ctl_run("--json", *words).stdout)
