"""CNAME chains: every name of one is held against the list before the client sees the answer."""

import os
import signal

from harness.case import Case
from harness.client import records
from harness.wire import Wire

# www.shop.com -> cdn.one.org -> track.two.net -> edge.three.com -> host.secure.example
CHAIN = ["cdn.one.org.", "track.two.net.", "edge.three.com.", "host.secure.example."]
ADDRESS = "198.18.0.3"


class Chain(Case):
    def setUp(self):
        self.daemon = self.run_daemon(name=self._testMethodName[5:45])

    def tearDown(self):
        self.daemon.stop()

    def assert_whole(self, answer):
        self.assert_resolved(answer, "A", [ADDRESS])
        self.assertEqual(records(answer, "CNAME"), sorted(CHAIN))

    def assert_caught(self, answer):
        self.assert_sinkholed(answer)
        text = answer.to_text()
        for name in CHAIN:
            self.assertNotIn(name, text)
        self.assertNotIn(ADDRESS, text)

    def test_a_chain_of_four_links_is_followed_cached_and_caught_when_its_third_name_is_listed(self):
        self.assert_whole(self.ask("www.shop.com"))
        hits = self.daemon.metrics().sum("sinkhole_cache_hits_total")
        self.assert_whole(self.ask("www.shop.com"))
        self.assertEqual(self.daemon.metrics().sum("sinkhole_cache_hits_total"), hits + 1)
        self.daemon.ctl("block", "track.two.net")
        with Wire() as wire:
            for kind in ("A", "AAAA", "A"):
                self.assert_caught(self.ask("www.shop.com", kind))
        self.assertNotIn("www.shop.com", wire.names())
        # The listing goes away: the same cached answer is good again.
        self.daemon.ctl("unblock", "track.two.net")
        self.assert_whole(self.ask("www.shop.com"))

    def test_a_chain_asked_for_the_first_time_after_listing_is_caught_and_stays_so_when_cached(self):
        self.daemon.ctl("block", "two.net")
        self.assert_caught(self.ask("www.shop.com"))
        hits = self.daemon.metrics().sum("sinkhole_cache_hits_total")
        self.assert_caught(self.ask("www.shop.com"))
        self.assertEqual(self.daemon.metrics().sum("sinkhole_cache_hits_total"), hits + 1)
        self.daemon.ctl("unblock", "two.net")
        self.assert_whole(self.ask("www.shop.com"))

    def test_each_name_of_the_chain_counts_and_so_does_every_door(self):
        self.assert_whole(self.ask("www.shop.com"))
        for name in CHAIN:
            self.daemon.ctl("block", name)
            for options in ({}, {"tcp": True}, {"server": "::1"}, {"dnssec": True},
                            {"checking": False}):
                with self.subTest(name=name, **options):
                    self.assert_caught(self.ask("www.shop.com", **options))
            self.daemon.ctl("unblock", name)
        self.assert_whole(self.ask("www.shop.com"))

    def test_an_exact_entry_above_a_name_of_the_chain_does_not_hold(self):
        self.daemon.ctl("block", "--exact", "two.net")
        self.assert_whole(self.ask("www.shop.com"))
        self.daemon.ctl("block", "--exact", "track.two.net")
        self.assert_caught(self.ask("www.shop.com"))

    def test_an_allowed_name_does_not_free_what_its_chain_leads_to(self):
        self.daemon.ctl("allow", "www.shop.com")
        self.daemon.ctl("block", "track.two.net")
        self.assert_caught(self.ask("www.shop.com"))

    def test_the_target_of_a_dname_is_held_against_the_list(self):
        self.assert_resolved(self.ask("www.away.secure.example"), "A", ["198.18.4.4"])
        self.daemon.ctl("block", "two.net")
        self.assert_sinkholed(self.ask("www.away.secure.example"))

    def test_a_chain_that_leads_to_nothing_is_caught_as_well(self):
        self.daemon.ctl("block", "edge.three.com")
        self.assert_caught(self.ask("www.shop.com", "MX"))
        self.daemon.ctl("unblock", "edge.three.com")

    def test_a_caught_chain_is_answered_from_the_cache_while_recursion_is_stopped(self):
        self.daemon.ctl("block", "track.two.net")
        self.assert_caught(self.ask("www.shop.com"))
        recursors = self.daemon.recursors()
        for pid in recursors:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.assert_caught(self.ask("www.shop.com", seconds=1))
        finally:
            for pid in recursors:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass

    def test_a_hit_in_a_chain_names_both_the_question_and_the_listed_name(self):
        self.daemon.ctl("block", "track.two.net")
        self.assert_caught(self.ask("www.shop.com"))

        def line():
            return [hit for hit in self.daemon.hits()
                    if hit["name"] == "www.shop.com" and "track.two.net" in str(hit)]

        self.until(line, "the hit line")

    def test_addresses_that_nobody_asked_for_are_not_given_out(self):
        # A name or mail server may be a listed name, and none is held against the list here.
        for kind in ("NS", "MX"):
            answer = self.ask("shop.com", kind)
            self.assertEqual(answer.additional, [], answer.to_text())
