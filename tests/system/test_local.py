"""The operator's list and imported feeds on a node without Redis: enforced, kept, refused."""

import os

from harness.case import Case
from harness.client import rcode


class Local(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.run_daemon(lists=[
            cls.list_file("starter", "listed.org\n", kind="deny", label="Starter")])

    def free(self, name):
        return 15 not in [int(option.code) for option in self.ask(name, "TXT").options
                          if option.otype == 15]

    def result(self, document, name):
        return next(row["result"] for row in document["results"] if row["name"].rstrip(".") == name)

    def test_block_is_enforced_when_the_command_returns_and_unblock_undoes_it(self):
        self.assert_resolved(self.ask("www.insecure.example"), "A", ["198.18.1.2"])
        answer = self.daemon.ctl("block", "insecure.example", "--reason", "a test")
        self.assertEqual(self.result(answer, "insecure.example"), "added")
        self.assert_sinkholed(self.ask("www.insecure.example"))
        again = self.daemon.ctl("block", "insecure.example", "--reason", "a test")
        self.assertEqual(self.result(again, "insecure.example"), "unchanged")
        gone = self.daemon.ctl("unblock", "insecure.example")
        self.assertEqual(self.result(gone, "insecure.example"), "removed")
        self.assert_resolved(self.ask("www.insecure.example"), "A", ["198.18.1.2"])

    def test_exact_blocks_the_name_alone(self):
        self.daemon.ctl("block", "--exact", "hashed.org")
        self.assertFalse(self.free("hashed.org"))
        self.assert_resolved(self.ask("www.hashed.org"), "A", ["198.18.3.1"])
        self.daemon.ctl("unblock", "hashed.org")

    def test_allow_frees_what_a_feed_lists_and_unallow_takes_it_back(self):
        self.assertFalse(self.free("www.listed.org"))
        self.daemon.ctl("allow", "www.listed.org")
        self.assert_resolved(self.ask("www.listed.org"), "A", ["198.18.5.1"])
        self.assertFalse(self.free("listed.org"))
        self.daemon.ctl("unallow", "www.listed.org")
        self.assertFalse(self.free("www.listed.org"))

    def test_several_names_at_once_and_each_gets_its_word(self):
        answer = self.daemon.ctl("block", "a.shop.com", "b.shop.com", "com", status=1)
        self.assertEqual(self.result(answer, "a.shop.com"), "added")
        self.assertEqual(self.result(answer, "com"), "refused")
        self.assertFalse(self.free("b.shop.com"))
        self.daemon.ctl("unblock", "a.shop.com", "b.shop.com")

    def test_guardrails_refuse_the_root_single_labels_public_suffixes_and_arpa(self):
        for name in (".", "com", "localhost", "co.uk", "arpa", "in-addr.arpa", "1.0.0.127.in-addr.arpa"):
            with self.subTest(name):
                answer = self.daemon.ctl("block", name, status=1)
                self.assertEqual(answer["results"][0]["result"], "refused")
                self.assertTrue(answer["results"][0]["reason"])
        self.assertTrue(self.free("plain.shop.com"))

    def test_what_is_not_listed_gets_status_3(self):
        answer = self.daemon.ctl("unblock", "nobody.example", status=3)
        self.assertEqual(answer["results"][0]["result"], "not found")

    def test_a_feed_is_imported_with_bad_lines_reported_and_replaced(self):
        path = self.write("import.txt", "one.imported.org\ntwo.imported.org\nbad line here\ncom\n"
                                        "127.0.0.1 three.imported.org\n")
        answer = self.daemon.ctl("feed", "import", path, "--name", "campaign")
        self.assertEqual((answer["added"], answer["rejected"]), (3, 2), answer)
        self.assertEqual(sorted(row["line"] for row in answer["rejects"]), [3, 4])
        for name in ("one", "two", "three"):
            self.assertFalse(self.free(name + ".imported.org"), name)
        path = self.write("import.txt", "two.imported.org\nfour.imported.org\n")
        answer = self.daemon.ctl("feed", "import", path, "--name", "campaign")
        self.assertEqual((answer["added"], answer["removed"], answer["unchanged"]), (1, 2, 1), answer)
        self.assertTrue(self.free("one.imported.org"))
        self.assertFalse(self.free("four.imported.org"))
        feeds = {feed["name"]: feed for feed in self.daemon.ctl("feed", "list")["feeds"]}
        self.assertEqual(feeds["campaign"]["entries"], 2)
        self.assertEqual(feeds["campaign"]["source"], "imported")
        self.assertEqual(feeds["starter"]["source"], "file")

    def test_a_feed_of_a_list_file_can_not_be_imported_over(self):
        path = self.write("over.txt", "x.imported.org\n")
        self.daemon.ctl("feed", "import", path, "--name", "starter", status=1)
        self.assertFalse(self.free("listed.org"))

    def test_why_names_the_rule_that_holds(self):
        answer = self.daemon.ctl("why", "www.listed.org")
        self.assertEqual(answer["decision"], "block")
        self.assertEqual(answer["feed"], "starter")
        self.assertEqual(answer["entry"].rstrip("."), "listed.org")
        free = self.daemon.ctl("why", "www.secure.example")
        self.assertEqual(free["decision"], "resolve")
        self.assertEqual(free["rules"], [])


class Kept(Case):
    """What the operator said survives stops, crashes and a damaged file."""

    def test_the_operators_list_and_imported_feeds_survive_a_stop_and_a_kill(self):
        self.daemon = self.run_daemon(name="kept")
        self.daemon.ctl("block", "insecure.example")
        self.daemon.ctl("allow", "www.insecure.example")
        path = self.write("feed.txt", "listed.org\n")
        self.daemon.ctl("feed", "import", path, "--name", "campaign")
        for end in (self.daemon.stop, self.daemon.kill):
            end()
            self.daemon.start()
            self.assert_sinkholed(self.ask("private.insecure.example"))
            self.assert_resolved(self.ask("www.insecure.example"), "A", ["198.18.1.2"])
            self.assert_sinkholed(self.ask("www.listed.org"))
        self.daemon.stop()

    def test_a_damaged_line_of_the_operators_list_is_skipped_and_the_rest_holds(self):
        self.daemon = self.run_daemon(name="damaged")
        self.daemon.ctl("block", "insecure.example", "shop.com")
        self.daemon.stop()
        path = os.path.join(self.daemon.state_dir, "operator.list")
        with open(path, "ab") as file:
            file.write(b"\xff\xfe rubbish here and no newline")
        self.daemon.start()
        self.assert_sinkholed(self.ask("www.insecure.example"))
        self.assert_sinkholed(self.ask("shop.com"))
        self.daemon.ctl("block", "one.org")
        self.daemon.kill()
        self.daemon.start()
        self.assert_sinkholed(self.ask("cdn.one.org"))
        self.assertEqual(rcode(self.ask("www.two.net")), "NOERROR")
        self.daemon.stop()
