"""Hits: one line for each client, name, type and second, with country and network, and counted."""

import os
import socket
import time

from harness.case import Case
from harness.client import raw_question
from harness.network import CLIENTS, CLIENTS6

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
OPEN = {"listen": [{"address": "0.0.0.0@5300", "protocols": ["udp", "tcp"]},
                   {"address": "::@5300", "protocols": ["udp", "tcp"]}],
        "access": {"allow": ["0.0.0.0/0", "::/0"]}}
# client, country, AS number: tests/data/country.csv and asn.csv
PLACES = [(CLIENTS[0], "PL", 64496), (CLIENTS[1], "FR", 64497), (CLIENTS[2], "DE", 64498),
          (CLIENTS6[0], "SE", 64500), (CLIENTS6[1], "FI", 64501), ("127.0.0.1", "XX", None)]


def data(name):
    return os.path.abspath(os.path.join(DATA, name))


class Hits(Case):
    layout = "nested"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.run_daemon(
            lists=[cls.list_file("starter", "listed.org\nsub.listed.org\n", kind="deny",
                                 category="malware", label="Public"),
                   cls.list_file("quiet", "one.org\n", kind="deny", action="log",
                                 category="adware")],
            changes={**OPEN, "geo": {"country": data(f"country-{cls.layout}.mmdb"),
                                     "asn": data(f"asn-{cls.layout}.mmdb")}})

    def lines(self, name):
        return [hit for hit in self.daemon.hits() if hit["name"] == name]

    def until_lines(self, name, count=1):
        self.until(lambda: sum(hit["count"] for hit in self.lines(name)) >= count,
                   f"{count} questions for {name} in the hit log")
        return self.lines(name)

    def test_each_client_has_its_country_and_network(self):
        for number, (address, country, asn) in enumerate(PLACES):
            with self.subTest(address):
                name = f"place{number}.listed.org"
                self.ask(name, source=address, server="::1" if ":" in address else "127.0.0.1")
                (hit,) = self.until_lines(name)
                self.assertEqual(hit["client"], address)
                self.assertEqual(hit["country"], country)
                self.assertEqual(hit.get("asn") or None, asn)

    def test_a_line_says_what_was_asked_and_what_the_list_knows(self):
        self.ask("Deep.Sub.Listed.org", "TXT", tcp=True)
        (hit,) = self.until_lines("deep.sub.listed.org")
        self.assertEqual(hit["type"], "TXT")
        self.assertEqual(hit["feed"], "starter")
        self.assertEqual(hit["category"], "malware")
        self.assertEqual(hit["action"], "address")
        self.assertEqual(hit["entry"], "sub.listed.org")
        self.assertEqual(hit["transport"], "tcp")
        self.assertEqual(hit["count"], 1)
        self.assertEqual(hit["node"], self.daemon.name)
        self.assertNotIn("label", hit)

    def test_repeats_are_folded_into_one_line_a_second_and_none_is_lost(self):
        before = self.daemon.metrics().sum("sinkhole_hits_total", feed="starter")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
            door.connect(("127.0.0.1", 5300))
            door.settimeout(5)
            start = time.monotonic()
            for number in range(500):
                door.send(raw_question("folded.listed.org", identity=number))
                door.recv(4096)
            seconds = time.monotonic() - start
        lines = self.until_lines("folded.listed.org", 500)
        self.assertEqual(sum(hit["count"] for hit in lines), 500)
        self.assertLessEqual(len(lines), (seconds + 2) * 3)  # three workers
        self.until(lambda: self.daemon.metrics().sum("sinkhole_hits_total", feed="starter")
                   == before + 500, "exactly 500 are counted")

    def test_a_log_only_match_has_a_line_of_its_own(self):
        self.ask("cdn.one.org", "MX")
        (hit,) = self.until_lines("cdn.one.org")
        self.assertEqual(hit["action"], "log")
        self.assertEqual(hit["feed"], "quiet")

    def test_what_is_not_listed_has_no_line(self):
        self.ask("www.secure.example")
        self.ask("marker.listed.org")
        self.until_lines("marker.listed.org")
        self.assertEqual(self.lines("www.secure.example"), [])

    def test_countries_and_feeds_are_counted(self):
        for _ in range(3):
            self.ask("counted.listed.org", source=CLIENTS[0])
        self.until_lines("counted.listed.org", 3)
        metrics = self.daemon.metrics()
        self.assertGreaterEqual(metrics.sum("sinkhole_hits_by_country_total", country="PL"), 3)
        self.assertGreaterEqual(metrics.sum("sinkhole_hits_total", feed="starter",
                                            category="malware"), 3)
        self.assertIn("quiet", metrics.values("sinkhole_hits_total", "feed"))

    def test_names_with_odd_octets_do_not_break_the_line(self):
        self.ask(r"a\"b\010c.listed.org")
        self.ask("after-odd.listed.org")
        self.until_lines("after-odd.listed.org")  # every line of the file is JSON

    def test_a_log_moved_away_is_opened_again(self):
        self.ask("before-move.listed.org")
        self.until_lines("before-move.listed.org")
        os.rename(self.daemon.hits_path, self.daemon.hits_path + ".moved")
        try:
            def written():
                self.ask("after-move.listed.org")
                return self.lines("after-move.listed.org")

            self.until(written, "the new file has lines", 10)
        finally:
            with open(self.daemon.hits_path + ".moved", encoding="utf-8") as file:
                self.assertIn("before-move", file.read())


class Flat(Hits):
    """The free databases' flat layout gives the same."""

    layout = "flat"


class Private(Case):
    """hits.client says how much of the client's address is kept."""

    def test_truncated_addresses_are_the_default_and_none_leaves_them_out(self):
        lists = [self.list_file("starter", "listed.org\n", kind="deny")]
        geo = {"country": data("country-nested.mmdb"), "asn": ""}
        expected = {None: ("192.0.2.0", "2001:db8:1::"), "none": (None, None)}
        for client, (four, six) in expected.items():
            self.daemon = self.run_daemon(name=f"client-{client}", lists=lists,
                                          changes={**OPEN, "geo": geo, "hits": {"client": client}})
            self.ask("four.listed.org", source=CLIENTS[0])
            self.ask("six.listed.org", source=CLIENTS6[0], server="::1")
            self.until(lambda: len(self.daemon.hits()) == 2, "two lines")
            for hit in self.daemon.hits():
                wanted, country = (four, "PL") if hit["name"].startswith("four") else (six, "SE")
                self.assertEqual((hit.get("client") or "").split("/")[0] or None, wanted)
                self.assertEqual(hit["country"], country)
            self.daemon.stop()
