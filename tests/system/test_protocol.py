"""What a client may send, and what it gets: RFC 1035, 6891, 8482, 9619 and common practice."""

import random
import socket
import struct

import dns.message

from harness import client
from harness.case import Case
from harness.client import errors, exchange, has_flag, opt, raw_question, rcode, records
from harness.daemon import SINKHOLE4
from harness.network import CLIENTS

FORMERR, NOTIMP, REFUSED = 1, 4, 5
QR = 0x8000


def flags_of(packet):
    return struct.unpack("!H", packet[2:4])[0]


class Protocol(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.run_daemon(lists=[cls.list_file("starter", "listed.org\n", kind="deny")])

    def exchange(self, packet, **options):
        return exchange(packet, port=self.daemon.port, **options)

    def assert_rcode(self, packet, expected):
        answer = self.exchange(packet)
        self.assertIsNotNone(answer, "no answer")
        self.assertEqual(answer[:2], packet[:2])
        self.assertTrue(flags_of(answer) & QR)
        self.assertEqual(flags_of(answer) & 15, expected)
        return answer

    def test_a_newer_edns_version_gets_badvers(self):
        packet = raw_question(additional=1, tail=opt(version=1))
        answer = dns.message.from_wire(self.exchange(packet))
        self.assertEqual(rcode(answer), "BADVERS")
        self.assertEqual(answer.edns, 0)
        self.assertEqual(answer.answer, [])

    def test_two_opt_records_are_a_format_error(self):
        self.assert_rcode(raw_question(additional=2, tail=opt() + opt()), FORMERR)

    def test_an_opt_with_a_name_is_a_format_error(self):
        self.assert_rcode(raw_question(additional=1, tail=b"\x01x" + opt()), FORMERR)

    def test_options_that_run_past_their_end_are_a_format_error(self):
        tail = opt(options=struct.pack("!HH", 10, 200) + b"12345678")
        self.assert_rcode(raw_question(additional=1, tail=tail), FORMERR)

    def test_unknown_options_are_ignored(self):
        tail = opt(options=struct.pack("!HH", 65001, 4) + b"1234")
        answer = dns.message.from_wire(self.exchange(raw_question("listed.org", tail=tail,
                                                                  additional=1)))
        self.assert_sinkholed(answer)

    def test_two_questions_and_none_are_format_errors(self):
        second = client.name_octets("example.org") + struct.pack("!HH", 1, 1)
        self.assert_rcode(raw_question(questions=2, tail=second), FORMERR)
        self.assert_rcode(raw_question(questions=0), FORMERR)

    def test_a_name_cut_short_is_a_format_error(self):
        whole = raw_question("listed.org")
        self.assert_rcode(whole[:-5], FORMERR)

    def test_a_compression_pointer_in_the_question_is_a_format_error(self):
        packet = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c" + struct.pack("!HH", 1, 1)
        self.assert_rcode(packet, FORMERR)

    def test_other_opcodes_get_notimp(self):
        for opcode in (1, 2, 4, 5, 6, 15):
            with self.subTest(opcode=opcode):
                answer = self.assert_rcode(raw_question(flags=opcode << 11), NOTIMP)
                self.assertEqual(flags_of(answer) >> 11 & 15, opcode)

    def test_classes_other_than_in_are_refused(self):
        for klass in (3, 4, 254, 255):
            with self.subTest(klass=klass):
                self.assert_rcode(raw_question("listed.org", klass=klass), REFUSED)

    def test_an_answer_or_a_stump_gets_silence(self):
        for packet in (raw_question(flags=0x8100), b"", b"\x12\x34\x01\x00", b"x" * 11):
            with self.subTest(packet=packet):
                self.assertIsNone(self.exchange(packet, seconds=0.2))

    def test_any_of_a_name_that_is_not_listed_gets_rfc_8482(self):
        answer = self.ask("secure.example", "ANY")
        self.assertEqual(rcode(answer), "NOERROR")
        self.assertEqual(records(answer, "HINFO"), ['"RFC8482" ""'])
        self.assertEqual(len(answer.answer), 1)

    def test_the_id_flags_and_question_come_back_as_sent(self):
        packet = raw_question("LISTED.org", identity=0xBEEF, flags=0x0110)
        answer = self.exchange(packet)
        self.assertEqual(answer[:2], b"\xbe\xef")
        self.assertEqual(flags_of(answer) & 0x0110, 0x0110)
        self.assertEqual(answer[12 : len(packet)], packet[12:])

    def test_an_answer_over_1232_octets_is_cut_with_tc_and_whole_over_tcp(self):
        short = self.ask("large.secure.example", "TXT", size=4096)
        self.assertTrue(has_flag(short, "TC"))
        self.assertLessEqual(len(short.to_wire()), 1232)
        for name, count in (("large", 8), ("huge", 30)):
            with self.subTest(name):
                whole = self.ask(f"{name}.secure.example", "TXT", tcp=True)
                self.assertFalse(has_flag(whole, "TC"))
                self.assertEqual(len(records(whole, "TXT")), count)

    def test_the_clients_udp_size_holds_and_512_without_edns(self):
        cases = (({"edns": False}, 512), ({"size": 512}, 512), ({"size": 100}, 512),
                 ({"size": 800}, 800), ({"size": 65535}, 1232))
        for options, most in cases:
            with self.subTest(**options):
                question = dns.message.make_query("large.secure.example", "TXT")
                if options.get("edns", True):
                    question.use_edns(0, payload=options["size"])
                answer = self.exchange(question.to_wire(), seconds=8)
                self.assertLessEqual(len(answer), most)
                self.assertTrue(flags_of(answer) & 0x0200, "TC")

    def test_an_answer_that_fits_is_not_cut(self):
        answer = self.ask("text.secure.example", "TXT", edns=False)
        self.assertFalse(has_flag(answer, "TC"))
        self.assertEqual(records(answer, "TXT"), ['"one" "two"'])

    def test_ten_thousand_malformed_packets_leave_it_answering(self):
        dice = random.Random(20240229)
        seeds = [raw_question("www.listed.org", additional=1, tail=opt(options=b"\0\x0a\0\x08abcdefgh")),
                 raw_question("a" * 63 + ".secure.example"),
                 raw_question("listed.org", 255, additional=1, tail=opt(version=3))]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
            door.connect(("127.0.0.1", self.daemon.port))
            door.setblocking(False)
            for number in range(10_000):
                door.send(mangled(dice, seeds[number % len(seeds)]))
                if number % 50 == 0:
                    drain(door)
                    if number % 1000 == 0:
                        self.assert_sinkholed(self.ask("listed.org"))
        self.assertIsNone(self.daemon.process.poll())
        self.assert_sinkholed(self.ask("listed.org"))
        self.assert_resolved(self.ask("www.secure.example"), "A", ["198.18.0.2"])


def mangled(dice, packet):
    """A packet with octets changed, cut, doubled or put in."""
    octets = bytearray(packet)
    for _ in range(dice.randrange(1, 6)):
        what, at = dice.randrange(5), dice.randrange(max(len(octets), 1))
        if what == 0 and octets:
            octets[at] = dice.randrange(256)
        elif what == 1 and octets:
            octets[at] ^= 1 << dice.randrange(8)
        elif what == 2:
            del octets[at:]
        elif what == 3:
            octets[at:at] = dice.randbytes(dice.randrange(1, 40))
        else:
            octets += octets[at:]
    return bytes(octets[:1400])


def drain(door):
    try:
        while True:
            door.recv(65535)
    except BlockingIOError:
        pass


class Access(Case):
    """Who may ask: access.allow, and what the others get."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lists = [cls.list_file("starter", "listed.org\n", kind="deny")]
        cls.daemon = cls.run_daemon(
            lists=lists,
            changes={"listen": [{"address": "0.0.0.0@5300", "protocols": ["udp", "tcp"]},
                                {"address": "::@5300", "protocols": ["udp", "tcp"]}]})
        cls.silent = cls.run_daemon(
            name="silent", port=5310, http=9360, lists=lists,
            changes={"access": {"others": "drop", "allow": ["127.0.0.0/8"]},
                     "listen": [{"address": "127.0.0.1@5310", "protocols": ["udp", "tcp"]}]})

    def test_an_address_outside_is_refused_with_a_reason(self):
        for tcp in (False, True):
            with self.subTest(tcp=tcp):
                answer = self.ask("listed.org", source=CLIENTS[0], tcp=tcp)
                self.assertEqual(rcode(answer), "REFUSED")
                self.assertEqual(answer.answer, [])
                self.assertEqual([code for code, _ in errors(answer)], [18])  # Prohibited

    def test_the_defaults_let_loopback_in(self):
        self.assertEqual(records(self.ask("listed.org", source="127.9.9.9"), "A"), [SINKHOLE4])

    def test_answers_come_from_the_address_that_was_asked(self):
        # dnspython drops answers that come from elsewhere.
        for address in ("127.0.0.1", "127.0.0.77", "127.200.0.3", "::1"):
            with self.subTest(address):
                self.assert_sinkholed(self.ask("listed.org", server=address))

    def test_others_can_be_dropped_instead(self):
        before = self.silent.metrics().sum("sinkhole_dropped_total", reason="acl")
        packet = raw_question("listed.org")
        self.assertIsNone(exchange(packet, port=5310, source=CLIENTS[0], seconds=0.3))
        self.assertIsNotNone(exchange(packet, port=5310))
        self.assertEqual(self.silent.metrics().sum("sinkhole_dropped_total", reason="acl"), before + 1)
