"""What is not listed is resolved from the root, validated, and cached."""

import os
import signal
import socket
import threading
import time

from harness import client
from harness.case import Case, internet
from harness.client import DNSSEC_BOGUS, errors, has_flag, rcode, records, ttl
from harness.wait import PATIENCE
from harness.wire import Wire


class Recursion(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.run_daemon(lists=[cls.list_file("starter", "listed.org\n", kind="deny")])

    def test_a_signed_name_is_secure_for_who_asks_for_it(self):
        for zone, address in (("secure.example", "198.18.0.2"), ("hashed.org", "198.18.3.1")):
            for options, expected in (({"dnssec": True}, True), ({"ad": True}, True), ({}, False)):
                with self.subTest(zone=zone, **options):
                    answer = self.ask("www." + zone, **options)
                    self.assert_resolved(answer, "A", [address])
                    self.assertEqual(has_flag(answer, "AD"), expected)
                    self.assertTrue(has_flag(answer, "RA"))
                    self.assertFalse(has_flag(answer, "AA"))

    def test_signatures_come_only_with_do(self):
        self.assertEqual(len(records(self.ask("www.secure.example", dnssec=True), "RRSIG")), 1)
        for name in ("www.secure.example", "nothing.secure.example", "only4.secure.example"):
            with self.subTest(name):
                answer = self.ask(name, "AAAA")
                for section in (answer.answer, answer.authority, answer.additional):
                    for kind in ("RRSIG", "NSEC", "NSEC3"):
                        self.assertEqual(records(answer, kind, section), [])
        proof = self.ask("nothing.secure.example", dnssec=True)
        self.assertTrue(records(proof, "NSEC", proof.authority))
        self.assertTrue(has_flag(proof, "AD"))

    def test_dnssec_types_come_without_do_when_asked_for_by_name(self):
        for kind in ("DS", "DNSKEY"):
            self.assertTrue(records(self.ask("secure.example", kind), kind), kind)

    def test_an_insecure_zone_is_resolved_without_ad(self):
        answer = self.ask("www.insecure.example", dnssec=True)
        self.assert_resolved(answer, "A", ["198.18.1.2"])
        self.assertFalse(has_flag(answer, "AD"))

    def test_bogus_data_is_servfail_without_data_and_says_so(self):
        for _ in range(2):  # resolved, then cached
            for name in ("www.bogus.example", "www.expired.example"):
                with self.subTest(name):
                    answer = self.ask(name)
                    self.assertEqual(rcode(answer), "SERVFAIL")
                    self.assertEqual(answer.answer, [])
                    self.assertEqual(errors(answer)[0][0], DNSSEC_BOGUS)
        self.assert_resolved(self.ask("fine.bogus.example"), "A", ["198.18.2.3"])

    def test_checking_disabled_gives_the_bogus_data_and_leaves_others_alone(self):
        given = self.ask("www.bogus.example", checking=False)
        self.assert_resolved(given, "A", ["198.18.2.66"])
        self.assertFalse(has_flag(given, "AD"))
        self.assertTrue(has_flag(given, "CD"))
        self.assertEqual(rcode(self.ask("www.bogus.example")), "SERVFAIL")

    def test_negative_answers_are_cached_and_their_time_counts_down(self):
        for name, expected in (("gone.secure.example", "NXDOMAIN"), ("only4.secure.example", "NOERROR")):
            with self.subTest(name):
                first = self.ask(name, "AAAA")
                self.assertEqual(rcode(first), expected)
                self.assertEqual(first.answer, [])
                start = ttl(first, "SOA", first.authority)
                self.assertLessEqual(start, 60)  # the SOA's last field, RFC 2308
                with Wire() as wire:
                    self.until(lambda name=name, start=start: ttl(again := self.ask(name, "AAAA"),
                                                                 "SOA", again.authority) < start,
                               "the time to live counts down")
                self.assertEqual([n for n in wire.names() if n == name], [])

    def test_positive_answers_are_cached_and_their_time_counts_down(self):
        first = ttl(self.ask("host.secure.example"), "A")
        before = self.daemon.metrics().sum("sinkhole_cache_hits_total")
        self.until(lambda: ttl(self.ask("host.secure.example"), "A") < first, "it counts down")
        self.assertGreater(self.daemon.metrics().sum("sinkhole_cache_hits_total"), before)

    def test_an_answer_is_asked_for_again_when_its_time_is_over(self):
        self.ask("brief.secure.example")
        with Wire() as wire:
            def asked_again():
                self.ask("brief.secure.example")
                return "brief.secure.example" in wire.names()

            self.until(asked_again, "two seconds are over", 8)

    def test_the_cache_holds_answers_for_each_spelling_and_keeps_the_askers(self):
        for name in ("www.SECURE.example", "WWW.secure.EXAMPLE", "www.secure.example"):
            answer = self.ask(name)
            self.assertEqual(answer.question[0].name.to_text(), name + ".")
            self.assertEqual(answer.answer[0].name.to_text().lower(), "www.secure.example.")

    def test_wildcards_cnames_and_dnames_are_followed(self):
        self.assert_resolved(self.ask("any.thing.wild.secure.example"), "A", ["198.18.0.6"])
        alias = self.ask("alias.secure.example")
        self.assertEqual(records(alias, "CNAME"), ["www.secure.example."])
        self.assert_resolved(alias, "A", ["198.18.0.2"])
        moved = self.ask("x.moved.secure.example")
        self.assertEqual(records(moved, "DNAME"), ["target.secure.example."])
        self.assert_resolved(moved, "A", ["198.18.0.11"])

    def test_names_with_odd_octets_are_resolved(self):
        for name, address in ((r"we\.ird", 8), (r"sp\032ace", 9), (r"nul\000x", 10),
                              ("MIXED.case", 7)):
            with self.subTest(name):
                self.assert_resolved(self.ask(name + ".secure.example"), "A",
                                     [f"198.18.0.{address}"])

    def test_every_common_type_comes_through(self):
        for name, kind in (("mail", "MX"), ("text", "TXT"), ("caa", "CAA"), ("www", "AAAA"), ("@", "SOA"),
                           ("@", "NS")):
            full = "secure.example" if name == "@" else name + ".secure.example"
            with self.subTest(kind):
                self.assertTrue(records(self.ask(full, kind), kind))

    def test_a_zone_served_over_ipv6_alone_is_resolved(self):
        self.assert_resolved(self.ask("www.six.net", "AAAA"), "AAAA", ["2001:db8:53::6"])

    def test_a_dead_server_is_servfail_and_cached(self):
        self.assertEqual(rcode(self.ask("www.dead.com", seconds=8)), "SERVFAIL")
        start = time.monotonic()
        again = self.ask("www.dead.com", seconds=8)
        self.assertEqual(rcode(again), "SERVFAIL")
        self.assertTrue(errors(again), "an extended error says why")
        self.assertLess(time.monotonic() - start, 1.0 * PATIENCE)

    def test_a_silent_server_is_servfail_within_the_deadline(self):
        start = time.monotonic()
        answer = self.ask("late.silent.com", seconds=10)
        self.assertEqual(rcode(answer), "SERVFAIL")
        self.assertLess(time.monotonic() - start, 7 * PATIENCE)

    def test_a_loop_of_cnames_and_a_chain_too_long_are_servfail(self):
        self.assertEqual(rcode(self.ask("a.loop.insecure.example")), "SERVFAIL")
        self.assertEqual(rcode(self.ask("link0.insecure.example")), "SERVFAIL")
        self.assertEqual(rcode(self.ask("link20.insecure.example")), "NOERROR")

    def test_names_for_the_machine_itself_never_leave(self):
        with Wire() as wire:
            self.assertEqual(records(self.ask("localhost"), "A"), ["127.0.0.1"])
            self.assertEqual(rcode(self.ask("x.invalid")), "NXDOMAIN")
            self.assertEqual(rcode(self.ask("1.0.0.10.in-addr.arpa", "PTR")), "NXDOMAIN")
        self.assertEqual(wire.packets, [])

    def test_equal_questions_in_flight_are_asked_once(self):
        answers = []

        def one():
            answers.append(self.ask("shared.many.insecure.example"))

        internet().freeze()
        try:
            threads = [threading.Thread(target=one) for _ in range(20)]
            with Wire() as wire:
                for thread in threads:
                    thread.start()
                self.until(lambda: self.daemon.metrics().sum("sinkhole_recursion_merged_total") > 0,
                           "questions are merged")
                internet().thaw()
                for thread in threads:
                    thread.join()
        finally:
            internet().thaw()
        self.assertEqual({rcode(answer) for answer in answers}, {"NOERROR"})
        asked = [name for name in wire.names() if name == "shared.many.insecure.example"]
        self.assertLessEqual(len(asked), 3 * 4)  # one a worker, repeated as libunbound does


class Options(Case):
    """What recursion.* changes."""

    def test_without_dnssec_bogus_data_is_given_and_nothing_is_ad(self):
        self.daemon = self.run_daemon(name="plain", changes={"recursion": {"dnssec": False}})
        self.assert_resolved(self.ask("www.bogus.example"), "A", ["198.18.2.66"])
        self.assertFalse(has_flag(self.ask("www.secure.example", dnssec=True), "AD"))
        self.daemon.stop()

    def test_without_query_localhost_no_server_on_loopback_is_asked(self):
        self.daemon = self.run_daemon(name="guarded",
                                      changes={"recursion": {"query_localhost": False}})
        with Wire() as wire:
            self.assertEqual(rcode(self.ask("www.secure.example")), "SERVFAIL")
        self.assertEqual(wire.packets, [])
        self.daemon.stop()

    def test_private_addresses_are_taken_out_of_answers_for_public_names(self):
        self.daemon = self.run_daemon(name="rebinding",
                                      changes={"recursion": {"rebinding_protection": True}})
        self.assertEqual(records(self.ask("private.insecure.example"), "A"), [])
        self.assert_resolved(self.ask("www.insecure.example"), "A", ["198.18.1.2"])
        self.daemon.stop()

    def test_outgoing_addresses_are_the_ones_named(self):
        self.daemon = self.run_daemon(
            name="outgoing", changes={"recursion": {"outgoing": ["127.0.0.99"], "ipv6": False}})
        with Wire() as wire:
            self.assert_resolved(self.ask("www.secure.example"), "A", ["198.18.0.2"])
        self.assertTrue(wire.sources)
        self.assertEqual(wire.sources, {"127.0.0.99"})
        self.daemon.stop()


class Outage(Case):
    """Recursion and its servers stopped, killed, or out of reach."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.run_daemon(lists=[cls.list_file("starter", "listed.org\n", kind="deny")],
                                    changes={"recursion": {"timeout": f"{int(2 * PATIENCE)}s"}})

    def test_listed_names_are_answered_at_once_while_all_recursion_is_stopped(self):
        self.ask("www.secure.example")
        recursors = self.daemon.recursors()
        self.assertGreaterEqual(len(recursors), 2)
        internet().freeze()
        for pid in recursors:
            os.kill(pid, signal.SIGSTOP)
        try:
            with Wire() as wire:
                for number in range(60):
                    start = time.monotonic()
                    self.assert_sinkholed(self.ask(f"n{number}.listed.org", tcp=number % 2 == 1,
                                                   server="::1" if number % 3 else "127.0.0.1"))
                    self.assertLess(time.monotonic() - start, 0.5 * PATIENCE)
                # What is cached is answered too.
                self.assert_resolved(self.ask("www.secure.example"), "A", ["198.18.0.2"])
            self.assertEqual([name for name in wire.names() if "listed.org" in name], [])
        finally:
            for pid in recursors:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass
            internet().thaw()
        self.until(lambda: rcode(self.ask("x1.many.insecure.example")) == "NOERROR",
                   "recursion works again", 15)

    def test_a_recursor_that_hangs_is_replaced(self):
        before = set(self.daemon.recursors())
        victim = min(before)
        os.kill(victim, signal.SIGSTOP)
        self.until(lambda: victim not in self.daemon.recursors()
                   and len(self.daemon.recursors()) == len(before), "another takes its place", 10)
        self.until(lambda: rcode(self.ask("x2.many.insecure.example")) == "NOERROR", "it answers", 10)

    def test_recursors_killed_under_load_are_replaced_within_a_second(self):
        stop = threading.Event()
        results, lost = [], []

        def load(number):
            count = 0
            while not stop.is_set():
                count += 1
                name = f"l{number}-{count}.many.insecure.example"
                try:
                    results.append(rcode(self.ask(name, seconds=6)))
                except client.dns.exception.Timeout:
                    lost.append(name)

        threads = [threading.Thread(target=load, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                before = set(self.daemon.recursors())
                start = time.monotonic()
                for pid in before:
                    os.kill(pid, signal.SIGKILL)
                self.until(lambda before=before: len(set(self.daemon.recursors()) - before)
                           == len(before), "new recursors run")
                self.assertLess(time.monotonic() - start, 1.0 * PATIENCE)
                done = len(results)
                self.until(lambda done=done: results[done:].count("NOERROR") > 20,
                           "questions are answered again")
                self.assert_sinkholed(self.ask("listed.org"))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(lost, [])
        self.assertGreater(results.count("NOERROR"), len(results) * 0.5)

    def test_what_is_in_flight_at_a_kill_is_asked_once_more(self):
        internet().freeze()
        try:
            answers = []
            threads = [threading.Thread(target=lambda n=n: answers.append(
                self.ask(f"again{n}.many.insecure.example"))) for n in range(4)]
            asked = self.daemon.metrics().sum("sinkhole_recursion_questions_total")
            for thread in threads:
                thread.start()
            self.until(lambda: self.daemon.metrics().sum("sinkhole_recursion_questions_total")
                       >= asked + 4, "all are in flight")
            for pid in self.daemon.recursors():
                os.kill(pid, signal.SIGKILL)
        finally:
            internet().thaw()
        for thread in threads:
            thread.join()
        self.assertEqual([rcode(answer) for answer in answers], ["NOERROR"] * 4)


class Limits(Case):
    """Questions waiting for recursion are bounded, in all and for each client."""

    def test_more_than_a_client_may_have_waiting_get_servfail_and_are_counted(self):
        self.daemon = self.run_daemon(changes={"limits": {"pending_per_client": 10}})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
            door.connect(("127.0.0.1", self.daemon.port))
            for number in range(100):
                door.send(client.raw_question(f"p{number}.silent.com", identity=number))
            self.until(lambda: self.daemon.metrics().sum("sinkhole_overload_total",
                                                         limit="pending_per_client") >= 60,
                       "those beyond the limit are counted")
        # Another client is not concerned.
        self.assert_resolved(self.ask("www.secure.example", source="127.4.4.4"), "A", ["198.18.0.2"])
        self.daemon.stop()
