"""The answer for a listed name: the same whatever is asked, wherever, and however."""

import dns.exception

from harness.case import Case
from harness.client import BLOCKED, CENSORED, errors, has_flag, rcode, records, ttl
from harness.daemon import SINKHOLE4, SINKHOLE6
from harness.wire import Wire

DOORS = [("127.0.0.1", False), ("127.0.0.1", True), ("::1", False), ("::1", True)]
TYPES = ["NS", "CNAME", "SOA", "PTR", "MX", "TXT", "SRV", "NAPTR", "DS", "DNSKEY", "TLSA", "SVCB",
         "HTTPS", "CAA", "TYPE65280"]


class Listed(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        starter = "\n".join([
            "# a comment", "listed.org", "0.0.0.0 hosts-line.example", "*.wildcard.example",
            "track.two.net", "", "sub.secure.example # and a reason", "ÜNIKODE..bad",
        ])
        cls.daemon = cls.run_daemon(lists=[
            cls.list_file("starter", starter, kind="deny", category="malware", label="the Test List"),
        ])

    def test_addresses_are_the_sinkholes_over_udp_and_tcp_and_both_families(self):
        for server, tcp in DOORS:
            with self.subTest(server=server, tcp=tcp):
                four = self.ask("listed.org", "A", server=server, tcp=tcp)
                self.assert_sinkholed(four)
                self.assertEqual(records(four, "A"), [SINKHOLE4])
                six = self.ask("listed.org", "AAAA", server=server, tcp=tcp)
                self.assert_sinkholed(six)
                self.assertEqual(records(six, "AAAA"), [SINKHOLE6])

    def test_every_other_type_is_nodata_with_soa(self):
        for kind in TYPES:
            for tcp in (False, True):
                with self.subTest(kind=kind, tcp=tcp):
                    answer = self.ask("listed.org", kind, tcp=tcp)
                    self.assert_sinkholed(answer)
                    self.assertEqual(answer.answer, [])
                    self.assertEqual(len(records(answer, "SOA", answer.authority)), 1)

    def test_any_gives_the_addresses(self):
        answer = self.ask("listed.org", "ANY")
        self.assert_sinkholed(answer)
        self.assertEqual(records(answer, "A"), [SINKHOLE4])
        self.assertEqual(records(answer, "AAAA"), [SINKHOLE6])

    def test_times_to_live_are_ten_seconds(self):
        self.assertEqual(ttl(self.ask("listed.org", "A"), "A"), 10)
        negative = self.ask("listed.org", "MX")
        self.assertEqual(ttl(negative, "SOA", negative.authority), 10)
        self.assertEqual(negative.authority[0][0].minimum, 10)

    def test_extended_error_has_the_public_label_and_never_the_internal_name(self):
        answer = self.ask("listed.org")
        self.assertEqual(errors(answer), [(BLOCKED, "Blocked by the Test List")])

    def test_without_edns_there_is_no_opt_and_the_same_answer(self):
        answer = self.ask("listed.org", edns=False)
        self.assertEqual(answer.edns, -1)
        self.assertEqual(records(answer, "A"), [SINKHOLE4])

    def test_ad_is_never_set_even_when_asked_for(self):
        for options in ({"ad": True}, {"dnssec": True}, {"checking": False}):
            with self.subTest(**options):
                answer = self.ask("listed.org", **options)
                self.assert_sinkholed(answer)
                self.assertEqual(records(answer, "RRSIG"), [])
                self.assertTrue(has_flag(answer, "RA"))

    def test_names_below_a_listed_name_are_blocked_at_any_depth(self):
        for name in ("www.listed.org", "a.b.c.d.e.listed.org", "x.wildcard.example",
                     "hosts-line.example", "deep.sub.secure.example"):
            with self.subTest(name):
                self.assert_sinkholed(self.ask(name))

    def test_the_longest_name_the_protocol_allows_is_blocked_below_a_listed_one(self):
        label = "a" * 63
        name = ".".join([label, label, label, "b" * 49, "listed.org"])
        self.assert_sinkholed(self.ask(name))

    def test_names_beside_or_above_a_listed_one_are_resolved(self):
        self.assert_resolved(self.ask("www.secure.example"), "A", ["198.18.0.2"])
        self.assert_resolved(self.ask("www.two.net"), "A", ["198.18.4.4"])
        self.assertEqual(rcode(self.ask("notlisted.org")), "NXDOMAIN")

    def test_case_is_kept_in_the_answer(self):
        with Wire() as wire:
            answer = self.ask("LiStEd.oRg")
        self.assertEqual(answer.question[0].name.to_text(), "LiStEd.oRg.")
        self.assert_sinkholed(answer)
        self.assertEqual(wire.packets, [])

    def test_nothing_leaves_for_a_listed_name(self):
        with Wire() as wire:
            for kind in ("A", "AAAA", "TXT", "ANY", "DS"):
                self.assert_sinkholed(self.ask("fresh.listed.org", kind))
            self.ask("fresh-seen-by-the-test.insecure.example")
            self.until(lambda: wire.packets, "the interface's eye sees resolution")
        self.assertFalse([name for name in wire.names() if "listed.org" in name], wire.packets)

    def test_recursion_not_desired_changes_nothing(self):
        self.assert_sinkholed(self.ask("listed.org", flags=0))

    def test_hits_and_answers_are_counted(self):
        before = self.daemon.metrics()
        for _ in range(7):
            self.ask("listed.org")
        self.until(
            lambda: self.daemon.metrics().sum("sinkhole_answers_total", kind="listed")
            - before.sum("sinkhole_answers_total", kind="listed") == 7,
            "seven answers are counted",
        )


class Configured(Case):
    """sinkhole.* changes the answer."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.run_daemon(
            lists=[cls.list_file("plain", "listed.org\n", kind="deny")],
            changes={"sinkhole": {"ipv4": ["192.0.2.7", "192.0.2.8"], "ipv6": [], "ttl": "90s",
                                  "text": "see help.example"}},
        )

    def test_several_addresses_ttl_and_text(self):
        answer = self.ask("listed.org")
        self.assertEqual(records(answer, "A"), ["192.0.2.7", "192.0.2.8"])
        self.assertEqual(ttl(answer, "A"), 90)
        self.assertEqual(errors(answer), [(BLOCKED, "see help.example")])

    def test_without_an_address_of_a_family_there_is_nodata(self):
        answer = self.ask("listed.org", "AAAA")
        self.assert_sinkholed(answer)
        self.assertEqual(answer.answer, [])
        self.assertEqual(len(records(answer, "SOA", answer.authority)), 1)


ACTIONS = {"refused": "REFUSED", "nxdomain": "NXDOMAIN", "nodata": "NOERROR"}


class Actions(Case):
    """A feed's own action, and precedence among feeds."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lists = [cls.list_file("act-" + action, f"{action}.listed.org\n", kind="deny", action=action)
                 for action in ("nxdomain", "nodata", "refused", "drop", "log", "address")]
        lists += [
            cls.list_file("low", "both.listed.org\n", kind="deny", action="nxdomain", priority=1),
            cls.list_file("high", "both.listed.org\n", kind="deny", action="refused", priority=200),
            cls.list_file("wide", "shop.com\n", kind="deny"),
            cls.list_file("narrow-allow", "plain.shop.com\n", kind="allow"),
            cls.list_file("deep-deny", "secure.example\n", kind="deny"),
            cls.list_file("operator-allow", "secure.example\n", kind="allow", tier="operator"),
            cls.list_file("feed-allow-above", "insecure.example\n", kind="allow"),
            cls.list_file("feed-deny-below", "www.insecure.example\n", kind="deny"),
            cls.list_file("allow-same", "www.hashed.org\n", kind="allow"),
            cls.list_file("deny-same", "www.hashed.org\n", kind="deny", priority=30000),
            cls.list_file("legal", "www.two.net\n", kind="deny", tier="legal"),
            cls.list_file("operator-frees", "two.net\nwww.two.net\n", kind="allow", tier="operator"),
            cls.list_file("log-above", "www.six.net\n", kind="deny", action="log"),
            cls.list_file("deny-above", "six.net\n", kind="deny", action="nxdomain"),
        ]
        cls.daemon = cls.run_daemon(lists=lists)

    def test_each_action_gives_its_answer(self):
        for action, expected in ACTIONS.items():
            for tcp in (False, True):
                with self.subTest(action=action, tcp=tcp):
                    answer = self.ask(f"{action}.listed.org", tcp=tcp)
                    self.assertEqual(rcode(answer), expected)
                    self.assertEqual(answer.answer, [])
                    self.assertEqual(errors(answer)[0][0], BLOCKED)
                    if action != "refused":
                        self.assertEqual(len(records(answer, "SOA", answer.authority)), 1)
        self.assertEqual(records(self.ask("address.listed.org"), "A"), [SINKHOLE4])

    def test_drop_says_nothing_and_is_counted(self):
        before = self.daemon.metrics().sum("sinkhole_dropped_total", reason="policy")
        with self.assertRaises(dns.exception.Timeout):
            self.ask("drop.listed.org", seconds=0.3)
        self.until(lambda: self.daemon.metrics().sum("sinkhole_dropped_total", reason="policy")
                   == before + 1, "the drop is counted")

    def test_log_only_resolves_and_counts_a_hit(self):
        before = self.daemon.metrics().sum("sinkhole_hit_questions_total")
        answer = self.ask("log.listed.org")
        self.assertEqual(rcode(answer), "NXDOMAIN")
        self.assertEqual(errors(answer), [])
        self.until(lambda: self.daemon.metrics().sum("sinkhole_hit_questions_total") == before + 1,
                   "the hit is counted")

    def test_the_highest_priority_gives_the_action(self):
        self.assertEqual(rcode(self.ask("both.listed.org")), "REFUSED")

    def test_a_longer_allow_frees_a_name_below_a_listed_one(self):
        self.assert_resolved(self.ask("plain.shop.com"), "A", ["198.18.4.2"])
        self.assert_sinkholed(self.ask("shop.com"))
        self.assert_sinkholed(self.ask("other.shop.com"))

    def test_an_operators_allow_frees_what_feeds_list_at_and_below_it(self):
        self.assert_resolved(self.ask("www.secure.example"), "A", ["198.18.0.2"])

    def test_a_feeds_allow_above_does_not_free_a_listed_name_below(self):
        self.assert_sinkholed(self.ask("www.insecure.example"))
        self.assert_resolved(self.ask("private.insecure.example"), "A", ["10.1.2.3"])

    def test_allow_beats_deny_at_the_same_name(self):
        self.assert_resolved(self.ask("www.hashed.org"), "A", ["198.18.3.1"])

    def test_a_legal_order_beats_an_operators_allow(self):
        answer = self.ask("www.two.net")
        self.assertEqual(records(answer, "A"), [SINKHOLE4])
        self.assertEqual(errors(answer)[0][0], CENSORED)

    def test_a_log_only_entry_never_hides_a_deny_above_it(self):
        self.assertEqual(rcode(self.ask("www.six.net", "AAAA")), "NXDOMAIN")
        self.assertEqual(errors(self.ask("www.six.net", "AAAA"))[0][0], BLOCKED)
