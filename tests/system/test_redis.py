"""The list in Redis: a full image, each change, and everything that can befall Redis meanwhile."""

import json
import signal
import threading
import time

from harness.case import Case
from harness.client import BLOCKED, NOT_READY, errors, rcode
from harness.daemon import to_yaml
from harness.metrics import get
from harness.redis import OPERATOR_PASSWORD, Connection, Redis, RedisError, script
from harness.wait import PATIENCE


class WithRedis(Case):
    """A Redis with a list in it, and nodes that follow it. Each test leaves it as it was."""

    nodes = 1

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.redis = Redis(cls.folder)
        cls.started.append(cls.redis)
        cls.redis.write("feed", "starter", "label=the Test List", "category=malware")
        cls.redis.write("change", "starter", "+listed.org", "+track.two.net x",
                        *(f"+name{n}.listed-many.org" for n in range(500)))
        cls.daemons = [
            cls.run_daemon(name=f"node{n}", port=5300 + n, http=9353 + n, redis=cls.redis)
            for n in range(cls.nodes)
        ]
        cls.daemon = cls.daemons[0]
        cls.operator = cls.write("operator.yaml", to_yaml({
            "node": cls.daemon.config["node"],
            "redis": {"servers": ["unix:" + cls.redis.path], "username": "operator",
                      "password_file": cls.redis.password_file("operator", OPERATOR_PASSWORD)},
        }))

    def ctl(self, *words, **options):
        return self.daemon.ctl(*words, operator=self.operator, **options)

    def blocked(self, name, daemon=None):
        """Whether a node blocks the name now."""
        answer = self.ask(name, "TXT", port=(daemon or self.daemon).port)
        return BLOCKED in [code for code, _ in errors(answer)]

    def until_blocked(self, name, wanted=True, daemon=None, seconds=5.0):
        self.until(lambda: self.blocked(name, daemon) == wanted,
                   f"{name} is {'blocked' if wanted else 'free'}", seconds)

    def until_caught_up(self, seconds=10.0):
        def caught_up():
            return all(daemon.metrics().sum("sinkhole_blocklist_revision") == self.redis.revision()
                       for daemon in self.daemons)

        self.until(caught_up, "every node has Redis' revision", seconds)


class Follow(WithRedis):
    nodes = 3

    def test_a_full_image_is_in_force_when_a_node_is_ready(self):
        for daemon in self.daemons:
            for name in ("listed.org", "www.listed.org", "name0.listed-many.org",
                         "name499.listed-many.org"):
                self.assertTrue(self.blocked(name, daemon), name)
            self.assertFalse(self.blocked("www.two.net", daemon))

    def test_a_change_is_enforced_on_all_nodes_within_a_moment(self):
        start = time.monotonic()
        self.redis.write("change", "starter", "+shop.com a=nxdomain")
        for daemon in self.daemons:
            self.until_blocked("plain.shop.com", daemon=daemon)
        self.assertLess(time.monotonic() - start, 1.0 * PATIENCE)
        self.assertEqual(rcode(self.ask("shop.com")), "NXDOMAIN")
        self.redis.write("change", "starter", "-shop.com")
        for daemon in self.daemons:
            self.until_blocked("plain.shop.com", False, daemon)

    def test_sinkholectl_blocks_allows_and_undoes_on_every_node(self):
        answer = self.ctl("block", "insecure.example", "--reason", "a test")
        self.assertTrue(answer)
        for daemon in self.daemons:
            self.until_blocked("www.insecure.example", daemon=daemon)
        self.ctl("unblock", "insecure.example")
        for daemon in self.daemons:
            self.until_blocked("www.insecure.example", False, daemon)
        self.ctl("allow", "listed.org")
        for daemon in self.daemons:
            self.until_blocked("listed.org", False, daemon)
        self.ctl("unallow", "listed.org")
        for daemon in self.daemons:
            self.until_blocked("listed.org", daemon=daemon)

    def test_what_is_not_listed_can_not_be_unblocked(self):
        self.ctl("unblock", "never-listed.example", status=3)

    def test_a_feed_is_imported_replaced_and_listed(self):
        names = [f"n{n}.imported.org" for n in range(3000)]
        first = self.write("first.txt", "\n".join(names) + "\nnot a name!\n")
        self.ctl("feed", "import", first, "--name", "imported", "--label", "Imported")
        self.until_blocked("n2999.imported.org")
        feeds = self.ctl("feed", "list")
        found = [feed for feed in feeds["feeds"] if feed["name"] == "imported"]
        self.assertEqual(int(found[0]["entries"]), 3000)
        second = self.write("second.txt", "\n".join(names[:10]) + "\nnew.imported.org\n")
        self.ctl("feed", "import", second, "--name", "imported")
        self.until_blocked("new.imported.org")
        self.until_blocked("n2999.imported.org", False)
        self.assertTrue(self.blocked("n9.imported.org"))

    def test_a_name_in_both_versions_of_a_feed_is_never_free_meanwhile(self):
        text = "".join(f"k{n}.kept.org\n" for n in range(4000))
        path = self.write("kept.txt", "stays.kept.org\n" + text)
        self.ctl("feed", "import", path, "--name", "kept")
        self.until_blocked("stays.kept.org")
        self.until_caught_up()
        path = self.write("kept.txt", "stays.kept.org\n" + text.replace("k", "z"))
        done = threading.Event()
        free = []

        def watch():
            while not done.is_set():
                if not self.blocked("stays.kept.org"):
                    free.append(1)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            self.ctl("feed", "import", path, "--name", "kept")
            self.until_caught_up()
        finally:
            done.set()
            thread.join()
        self.assertEqual(free, [])
        self.assertFalse(self.blocked("k1.kept.org"))

    def test_nodes_shows_every_node_with_its_revision(self):
        self.until_caught_up()

        def all_live():
            nodes = {node["name"]: node for node in self.ctl("nodes")["nodes"]}
            return all(str(nodes[d.name]["revision"]) == str(self.redis.revision())
                       and nodes[d.name]["live"] in (True, "live") for d in self.daemons)

        self.until(all_live, "three live nodes with Redis' revision", 10)

    def test_a_nodes_own_user_can_write_nothing_but_its_sign_of_life(self):
        connection = Connection(self.redis.path)
        try:
            connection.call("AUTH", "node", "node-secret")
            for command in (["HSET", "{sh}:meta", "revision", "1"], ["XADD", "{sh}:log", "*", "a", "b"],
                            ["FLUSHALL"], ["DEL", "{sh}:meta"], ["CONFIG", "GET", "*"]):
                with self.subTest(command[0]):
                    with self.assertRaises(RedisError):
                        connection.call(*command)
        finally:
            connection.close()

    def test_the_operators_changes_are_refused_by_the_node_itself(self):
        done = self.daemon.ctl_run("block", "insecure.example")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertFalse(self.blocked("insecure.example"))


class Trouble(WithRedis):
    def counter(self, family, **labels):
        return self.daemon.metrics().sum(family, **labels)

    def test_redis_killed_changes_no_answer_and_a_restart_is_followed(self):
        self.redis.kill()
        self.until(lambda: self.counter("sinkhole_redis_up") == 0, "the node knows that Redis is away")
        self.assertTrue(self.blocked("listed.org"))
        self.assertTrue(self.blocked("name77.listed-many.org"))
        self.assert_resolved(self.ask("www.secure.example"), "A", ["198.18.0.2"])
        self.redis.start()
        self.until(lambda: self.counter("sinkhole_redis_up") == 1, "the node is connected again", 15)
        self.redis.write("change", "starter", "+after-restart.org")
        self.until_blocked("after-restart.org")
        self.assertTrue(self.blocked("listed.org"))

    def test_what_changed_while_redis_was_out_of_reach_is_taken_up(self):
        self.redis.freeze()
        try:
            self.until(lambda: self.counter("sinkhole_redis_up") == 0,
                       "a Redis that does not answer is away", 40)
            self.assertTrue(self.blocked("listed.org"))
        finally:
            self.redis.thaw()
        self.redis.write("change", "starter", "+while-away.org")
        self.until_blocked("while-away.org", seconds=20)

    def test_a_log_trimmed_while_the_connection_stays_open_brings_a_full_image(self):
        self.until_caught_up()
        images = self.counter("sinkhole_blocklist_resyncs_total")
        # In one transaction, so that the node never sees the entry: as after a long stall.
        connection = Connection(self.redis.path)
        try:
            connection.call("AUTH", "admin-secret")
            connection.call("MULTI")
            connection.call("EVAL", script(), 5, "{sh}:meta", "{sh}:feeds", "{sh}:log",
                            "{sh}:feed:starter", "{sh}:f:starter", "change", "starter", "test", "",
                            "11111111-2222-3333-4444-555555555555", "+trimmed-away.org")
            connection.call("XTRIM", "{sh}:log", "MAXLEN", "0")
            connection.call("EXEC")
        finally:
            connection.close()
        self.redis.write("change", "starter", "+after-the-gap.org")
        self.until_blocked("after-the-gap.org")
        self.until_blocked("trimmed-away.org")
        self.assertGreater(self.counter("sinkhole_blocklist_resyncs_total"), images)
        self.assertTrue(self.blocked("listed.org"))

    def test_a_node_stopped_while_the_log_moves_past_it_takes_a_full_image(self):
        self.until_caught_up()
        self.daemon.process.send_signal(signal.SIGSTOP)
        try:
            for number in range(50):
                self.redis.write("change", "starter", f"+stopped{number}.org")
            self.redis.call("XTRIM", "{sh}:log", "MAXLEN", "1")
        finally:
            self.daemon.process.send_signal(signal.SIGCONT)
        for number in (0, 25, 49):
            self.until_blocked(f"stopped{number}.org", seconds=10)
        self.until_caught_up()
        self.assertTrue(self.blocked("listed.org"))

    def test_a_flushed_redis_does_not_empty_the_list(self):
        self.redis.call("FLUSHALL")

        def noticed():
            status = self.daemon.ctl("status")
            return "no list" in json.dumps(status["redis"]).lower()

        self.until(noticed, "status says that Redis holds no list", 20)
        self.assertTrue(self.blocked("listed.org"))
        self.assertTrue(self.blocked("name1.listed-many.org"))
        # A new list, of another lineage, takes its place.
        self.redis.write("feed", "starter", "label=the Test List",
                         lineage="99999999-2222-3333-4444-555555555555")
        self.redis.write("change", "starter", "+listed.org", "+track.two.net x", "+second-life.org",
                         *(f"+name{n}.listed-many.org" for n in range(500)))
        self.until_blocked("second-life.org", seconds=20)
        self.assertTrue(self.blocked("listed.org"))

    def test_a_rogue_entry_for_com_changes_no_answer_and_is_counted(self):
        before = self.counter("sinkhole_blocklist_rejected_total")
        # By the only writer there should be, so that the chain of revisions holds.
        self.redis.write("change", "starter", "+com", "+arpa", "+in-addr.arpa", "+co.uk", "+org")
        self.until_caught_up()
        for name in ("plain.shop.com", "shop.com", "www.hashed.org"):
            self.assertFalse(self.blocked(name), name)
        self.assert_resolved(self.ask("plain.shop.com"), "A", ["198.18.4.2"])
        self.until(lambda: self.counter("sinkhole_blocklist_rejected_total") >= before + 5,
                   "five refused entries are counted")
        self.redis.write("change", "starter", "-com", "-arpa", "-in-addr.arpa", "-co.uk", "-org")
        self.until_caught_up()

    def test_a_rogue_xadd_past_the_script_changes_no_answer_and_is_counted(self):
        meta = self.redis.call("HGETALL", "{sh}:meta")
        meta = dict(zip(meta[::2], meta[1::2]))
        images = self.counter("sinkhole_blocklist_resyncs_total")
        self.redis.call("XADD", "{sh}:log", "*", "l", meta[b"lineage"], "r",
                        int(meta[b"revision"]) + 1, "d", "0" * 40, "o", "change", "f", "starter",
                        "w", "rogue", "y", "", "b", "+com\n-listed.org")
        self.until(lambda: self.counter("sinkhole_blocklist_resyncs_total") > images,
                   "the broken chain brings a full image", 10)
        self.assertTrue(self.blocked("listed.org"))
        self.assertFalse(self.blocked("shop.com"))
        self.redis.write("change", "starter", "+after-rogue.org")
        self.until_blocked("after-rogue.org", seconds=10)

    def test_rubbish_in_the_log_does_no_harm(self):
        for fields in (["x", "y"], ["l", b"\xff\xfe\0"], ["l", "a", "l", "b", "r", "-1"],
                       ["b", b"+com\n" * 1000]):
            self.redis.call("XADD", "{sh}:log", "*", *fields)
        self.redis.write("change", "starter", "+after-rubbish.org")
        self.until_blocked("after-rubbish.org", seconds=10)
        self.assertTrue(self.blocked("listed.org"))

    def test_values_that_are_not_understood_are_skipped_and_counted(self):
        before = self.counter("sinkhole_blocklist_rejected_total")
        self.redis.write("change", "starter", "+bad-action.org a=explode", "+later-rule.org Z=1",
                         "+later-remark.org z=1")
        self.until_blocked("later-remark.org")
        self.assertFalse(self.blocked("bad-action.org"))
        self.assertFalse(self.blocked("later-rule.org"))
        self.assertGreaterEqual(self.counter("sinkhole_blocklist_rejected_total"), before + 2)


class Late(WithRedis):
    """Nodes whose Redis is not there, or does not let them in."""

    def node(self, name, number, changes=None):
        daemon = type(self.daemon)(self.folder, None, name=name, port=5320 + number,
                                   http=9370 + number, redis=self.redis, start=False,
                                   changes=changes)
        self.started.append(daemon)
        daemon.start(ready=False)
        self.until(lambda: get("/healthz", daemon.http)[0] == 200, f"{name} lives", 10)
        return daemon

    def test_a_node_without_redis_is_not_ready_and_becomes_so_by_itself(self):
        self.redis.kill()
        late = self.node("late", 0)
        status, text = get("/readyz", late.http)
        self.assertEqual(status, 503)
        self.assertIn("list", text)
        # it can't know what is listed, so it gives out nothing
        for name in ("listed.org", "www.secure.example"):
            answer = self.ask(name, port=late.port)
            self.assertEqual(rcode(answer), "REFUSED")
            self.assertEqual([code for code, _ in errors(answer)], [NOT_READY])
        self.redis.start()
        self.until(lambda: self.blocked("listed.org", late), "it took the image", 20)
        late.wait_ready()
        self.assertNotEqual(rcode(self.ask("www.secure.example", port=late.port)), "REFUSED")

    def test_a_wrong_password_is_said_in_the_status(self):
        wrong = self.node("wrong", 1, {"redis": {
            "password_file": self.redis.password_file("wrong", "not-the-password")}})

        def said():
            return "WRONGPASS" in json.dumps(wrong.ctl("status")["redis"])

        self.until(said, "status gives Redis' own word", 10)
        self.assertEqual(get("/readyz", wrong.http)[0], 503)
