"""sinkholectl and Redis alone, no daemon: what is written, imports that break, servers that fail."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from harness.case import root_folder
from harness.daemon import SINKHOLECTL, environment
from harness.redis import ADMIN_PASSWORD, NODE_PASSWORD, OPERATOR_PASSWORD, Redis
from harness.wait import PATIENCE, until


class WithRedis(unittest.TestCase):
    """A Redis of its own for each test, empty, and a configuration that names it."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="ctl-", dir=root_folder())
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.redis = Redis(self.folder)
        self.addCleanup(self.redis.stop)
        self.config = self.configure("operator.yaml", ["unix:" + self.redis.path])

    def configure(self, name, servers, user="operator", password=OPERATOR_PASSWORD):
        return self.write(name, json.dumps({
            "node": {"control": os.path.join(self.folder, "control.sock")},
            "redis": {"servers": servers, "username": user,
                      "password_file": self.redis.password_file(user, password)},
        }))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self, *words, config=None, **options):
        return subprocess.Popen([SINKHOLECTL, "-c", config or self.config, *words],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**environment(), "SUDO_USER": "jan"}, **options)

    def run_ctl(self, *words, text=None, **options):
        process = self.start(*words, stdin=subprocess.PIPE, **options)
        out, err = process.communicate(text, timeout=60 * PATIENCE)
        return process.returncode, out, err

    def ctl(self, *words, status=0, **options):
        """With --json; checks the status and that the output is one document."""
        found, out, err = self.run_ctl("--json", *words, **options)
        self.assertEqual(found, status, out + err)
        return json.loads(out)

    def value(self, feed, name):
        """What the feed says of the name in Redis, wherever its shard is; None if nothing."""
        for key in self.redis.call("KEYS", "{sh}:f:" + feed + ":*"):
            found = self.redis.call("HGET", key, name)
            if found is not None:
                return found.decode()
        return None

    def log(self):
        """The log's entries as dictionaries, oldest first."""
        entries = []
        for _, fields in self.redis.call("XRANGE", "{sh}:log", "-", "+"):
            texts = [field.decode() for field in fields]
            entries.append(dict(zip(texts[::2], texts[1::2])))
        return entries

    def state(self, feed):
        return (self.redis.call("HGET", "{sh}:feed:" + feed, "state") or b"").decode()


class Change(WithRedis):
    def test_block_writes_the_operators_feed_and_says_who_and_why(self):
        self.ctl("block", "evil.example", "--exact", "--category", "phishing", "--reason", "a;b")
        self.assertEqual(self.value("operator", "evil.example"), "x;c=phishing;r=a%3Bb")
        last = self.log()[-1]
        self.assertEqual((last["o"], last["f"], last["y"]), ("change", "operator", "a;b"))
        self.assertTrue(last["w"].startswith("jan@"), last["w"])
        self.assertEqual(self.redis.call("HGET", "{sh}:feed:operator", "tier"), b"operator")

    def test_what_is_so_already_makes_no_revision(self):
        self.ctl("block", "evil.example", "--reason", "first")
        revision = self.redis.revision()
        for words in (["block", "evil.example", "--reason", "first"], ["block", "evil.example"],
                      ["block", "EVIL.example."]):
            self.assertEqual(self.ctl(*words)["results"][0]["result"], "unchanged")
        self.assertEqual(self.redis.revision(), revision)
        again = self.ctl("block", "evil.example", "--reason", "second")
        self.assertEqual(again["results"][0]["result"], "changed")

    def test_names_are_refused_one_by_one_and_the_others_are_listed(self):
        done = self.ctl("block", "com", "good.example", "no name", "żółw.example", status=1)
        self.assertEqual([row["result"] for row in done["results"]],
                         ["refused", "added", "refused", "added"])
        self.assertEqual(self.value("operator", "xn--w-uga1v8h.example"), "")
        self.assertIsNone(self.value("operator", "com"))

    def test_block_and_allow_take_each_other_back_only_by_their_own_undoing(self):
        self.ctl("allow", "a.example")
        self.assertEqual(self.value("operator", "a.example"), "a=allow")
        self.ctl("unblock", "a.example", status=3)
        self.assertEqual(self.value("operator", "a.example"), "a=allow")
        self.assertEqual(self.ctl("block", "a.example")["results"][0]["result"], "changed")
        self.ctl("unallow", "a.example", status=3)
        self.assertEqual(self.value("operator", "a.example"), "")
        self.ctl("unblock", "a.example")
        self.assertIsNone(self.value("operator", "a.example"))

    def test_an_unknown_feed_gets_status_3_and_a_feed_of_exceptions_blocks_nothing(self):
        self.ctl("block", "a.example", "--feed", "nowhere", status=3)
        self.ctl("unblock", "a.example", "--feed", "nowhere", status=3)
        path = self.write("allow.txt", "free.example\n")
        self.ctl("feed", "import", path, "--name", "exceptions", "--kind", "allow")
        error = self.ctl("block", "a.example", "--feed", "exceptions", status=1)["error"]
        self.assertIn("allow", error)
        self.assertIsNone(self.value("exceptions", "a.example"))

    def test_more_names_than_one_call_takes(self):
        names = [f"n{n}.example" for n in range(2300)]
        done = self.ctl("block", *names)
        self.assertEqual({row["result"] for row in done["results"]}, {"added"})
        self.assertEqual(self.redis.call("HGET", "{sh}:feed:operator", "count"), b"2300")

    def test_a_script_that_redis_has_forgotten_is_sent_again(self):
        self.ctl("block", "a.example")
        self.redis.call("SCRIPT", "FLUSH")
        self.ctl("block", "b.example")
        self.assertEqual(self.value("operator", "b.example"), "")

    def test_json_and_text_say_the_same_and_quiet_says_nothing(self):
        status, out, _ = self.run_ctl("block", "a.example")
        self.assertEqual((status, out.splitlines()[0]), (0, "a.example: added"))
        self.assertEqual(self.run_ctl("--quiet", "block", "b.example"), (0, "", ""))
        status, out, err = self.run_ctl("--quiet", "unblock", "c.example")
        self.assertEqual((status, out), (3, ""))
        self.assertIn("not found", err)


class Import(WithRedis):
    def test_only_the_difference_is_sent(self):
        names = [f"n{n}.example" for n in range(2500)]
        first = self.write("list.txt", "\n".join(names))
        done = self.ctl("feed", "import", first, "--name", "camp", "--category", "malware",
                        "--label", "Public", "--priority", "-5")
        self.assertEqual((done["created"], done["added"]), (True, 2500))
        self.assertEqual(self.redis.call("HGET", "{sh}:feed:camp", "shards"), b"32")
        self.assertEqual(self.redis.call("HGET", "{sh}:feed:camp", "priority"), b"-5")
        before = len(self.log())
        second = self.write("list.txt", "\n".join(["=" + names[0], *names[2:], "new.example"]))
        done = self.ctl("feed", "import", second, "--name", "camp")
        self.assertEqual([done[key] for key in ("added", "changed", "removed", "unchanged")],
                         [1, 1, 1, 2498])
        self.assertEqual([entry["o"] for entry in self.log()[before:]],
                         ["begin", "change", "change", "end"])
        self.assertEqual(sorted("\n".join(e["b"] for e in self.log()[before:]).split()),
                         ["+n0.example", "+new.example", "-n1.example", "x"])
        self.assertEqual(self.redis.call("HGET", "{sh}:feed:camp", "label"), b"Public")
        self.assertEqual(done["revision"], self.redis.revision())

    def test_merge_removes_nothing(self):
        self.ctl("feed", "import", self.write("a.txt", "a.example\n"), "--name", "camp")
        self.ctl("feed", "import", self.write("b.txt", "b.example\n"), "--name", "camp", "--merge")
        self.assertEqual(self.value("camp", "a.example"), "")
        self.assertEqual(self.value("camp", "b.example"), "")

    def test_a_dry_run_changes_nothing_and_shows_what_would(self):
        self.ctl("feed", "import", self.write("a.txt", "a.example\nb.example\n"), "--name", "camp")
        revision = self.redis.revision()
        path = self.write("b.txt", "b.example\nc.example\n")
        done = self.ctl("feed", "import", path, "--name", "camp", "--dry-run")
        self.assertEqual(done["examples"],
                         {"added": ["c.example"], "changed": [], "removed": ["a.example"]})
        self.ctl("feed", "import", path, "--name", "other", "--dry-run")
        self.assertEqual(self.redis.revision(), revision)

    def test_refused_lines_are_counted_shown_and_written(self):
        rejects = os.path.join(self.folder, "rejects")
        text = "good.example\ncom\n" + "bad name\n" * 30 + "\x1b[31m\n"
        status, out, err = self.run_ctl("feed", "import", "-", "--name", "camp", "--rejects",
                                        rejects, text=text)
        self.assertEqual(status, 0, err)
        self.assertIn("32 refused", out)
        self.assertEqual(len(err.splitlines()), 11)
        self.assertIn("-:2: a single label: com", err)
        self.assertNotIn("\x1b", err)
        with open(rejects, encoding="utf-8") as file:
            self.assertEqual(len(file.readlines()), 32)

    def test_a_file_of_another_kind_empties_no_feed(self):
        self.ctl("feed", "import", self.write("a.txt", "a.example\n"), "--name", "camp")
        path = self.write("page.html", "<html>\n<p>404 not found</p>\n</html>\n")
        self.ctl("feed", "import", path, "--name", "camp", status=1)
        self.ctl("feed", "import", "/nonexistent", "--name", "camp", status=1)
        self.assertEqual(self.value("camp", "a.example"), "")

    def test_a_feed_keeps_its_kind(self):
        path = self.write("a.txt", "a.example\n")
        self.ctl("feed", "import", path, "--name", "camp")
        self.ctl("feed", "import", path, "--name", "camp", "--kind", "allow", status=1)
        self.assertEqual(self.redis.call("HGET", "{sh}:feed:camp", "kind"), b"deny")

    def test_a_killed_import_shows_and_the_same_import_completes_it(self):
        names = [f"n{n}.example" for n in range(60000)]
        path = self.write("list.txt", "\n".join(names))
        process = self.start("feed", "import", path, "--name", "camp")
        until(lambda: int(self.redis.call("HGET", "{sh}:feed:camp", "count") or 0) > 2000,
              "the import is under way", 30)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.assertEqual(self.state("camp"), "importing")
        listed = self.ctl("feed", "list")["feeds"]
        self.assertEqual([feed["state"] for feed in listed], ["importing"])
        had = int(self.redis.call("HGET", "{sh}:feed:camp", "count"))
        done = self.ctl("feed", "import", path, "--name", "camp")
        self.assertEqual((done["added"], done["unchanged"]), (60000 - had, had))
        self.assertEqual(self.state("camp"), "open")
        self.assertEqual(self.redis.call("HGET", "{sh}:feed:camp", "count"), b"60000")

    def test_an_import_that_lacked_only_its_end_is_completed(self):
        path = self.write("a.txt", "a.example\n")
        self.ctl("feed", "import", path, "--name", "camp")
        self.redis.write("begin", "camp")
        self.ctl("feed", "import", path, "--name", "camp")
        self.assertEqual(self.state("camp"), "open")


class Servers(WithRedis):
    def test_a_user_without_rights_is_told_which_to_use(self):
        config = self.configure("node.yaml", ["unix:" + self.redis.path], "node", NODE_PASSWORD)
        error = self.ctl("block", "a.example", status=1, config=config)["error"]
        self.assertIn("SINKHOLE_REDIS_USERNAME", error)
        self.assertEqual(self.redis.revision(), 0)
        config = self.configure("wrong.yaml", ["unix:" + self.redis.path], password="wrong")
        self.assertIn("WRONGPASS", self.ctl("block", "a.example", status=1, config=config)["error"])

    def test_a_redis_that_does_not_answer_is_given_up(self):
        self.redis.freeze()
        error = self.ctl("block", "a.example", status=1)["error"]
        self.redis.thaw()
        self.assertIn(self.redis.path, error)
        self.redis.kill()
        self.assertIn(self.redis.path, self.ctl("feed", "list", status=1)["error"])

    def test_servers_are_tried_in_turn_and_replicas_passed_over(self):
        other = os.path.join(self.folder, "other")
        os.makedirs(other)
        replica = Redis(other)
        self.addCleanup(replica.stop)
        self.redis.call("CONFIG", "SET", "bind", "127.0.0.1")
        self.redis.call("CONFIG", "SET", "port", "6390")
        replica.call("CONFIG", "SET", "bind", "127.0.0.1")
        replica.call("CONFIG", "SET", "port", "6391")
        replica.call("CONFIG", "SET", "masterauth", ADMIN_PASSWORD)
        replica.call("REPLICAOF", "127.0.0.1", "6390")
        # HELLO, which tells the roles apart, is among the operator's rights: PROTOCOL.md.
        config = self.configure("turn.yaml",
                                ["127.0.0.1@6389", "127.0.0.1@6391", "127.0.0.1@6390"])
        self.ctl("block", "a.example", config=config)
        self.assertEqual(self.value("operator", "a.example"), "")
        config = self.configure("replica.yaml", ["127.0.0.1@6391"])
        self.assertIn("replica", self.ctl("block", "b.example", status=1, config=config)["error"])
        until(lambda: replica.call("HGET", "{sh}:feed:operator", "count") == b"1",
              "the replica has the feed", 20)
        self.assertEqual(len(self.ctl("feed", "list", config=config)["feeds"]), 1)

    def test_nodes_are_live_for_15_seconds_and_foreign_text_is_harmless(self):
        self.redis.write("feed", "camp")
        now = int(self.redis.call("TIME")[0]) * 1000
        lineage = self.redis.call("HGET", "{sh}:meta", "lineage").decode()
        sign = "revision=1;lineage={};version=0.1.0;seen={};state=live"
        self.redis.call("HSET", "{sh}:nodes", "near", sign.format(lineage, now),
                        "far", sign.format(lineage, now - 60000),
                        "strange\x1b[31m", "rubbish;;=;seen=x")
        nodes = {node["name"]: node for node in self.ctl("nodes")["nodes"]}
        self.assertEqual((nodes["near"]["live"], nodes["far"]["live"]), (True, False))
        self.assertEqual(nodes["near"]["revision"], 1)
        status, out, _ = self.run_ctl("nodes")
        self.assertEqual(status, 0)
        self.assertNotIn("\x1b", out)
        self.assertIn("far", out)
