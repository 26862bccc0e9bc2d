"""DNS over TCP (RFC 7766): pipelining, answers out of order, and clients that misbehave."""

import struct
import time

import dns.message

from harness.case import Case
from harness.client import Stream, framed, raw_question, rcode, records
from harness.wait import PATIENCE

IDLE_S = 1.0
PER_CLIENT = 10


def answers(stream):
    """Whether a question on the connection gets an answer."""
    try:
        stream.ask("listed.org")
        stream.receive()
        return True
    except (EOFError, OSError):
        return False


class Tcp(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.run_daemon(
            lists=[cls.list_file("starter", "listed.org\n", kind="deny")],
            changes={"limits": {"tcp_idle": f"{int(IDLE_S * 1000)}ms", "tcp_total": "4s",
                                "tcp_per_client": PER_CLIENT},
                     "recursion": {"timeout": "2s"}})

    def test_a_hundred_questions_in_one_write_get_a_hundred_answers(self):
        with Stream() as stream:
            packet = b"".join(framed(raw_question("listed.org", identity=n)) for n in range(100))
            stream.send(packet)
            answers = [stream.receive() for _ in range(100)]
        self.assertEqual(sorted(answer.id for answer in answers), list(range(100)))
        for answer in answers:
            self.assertEqual(rcode(answer), "NOERROR")

    def test_a_fast_answer_overtakes_a_slow_one(self):
        with Stream() as stream:
            slow = stream.ask("www.silent.com")
            fast = stream.ask("listed.org")
            first = stream.receive()
            self.assertEqual(first.id, fast)
            self.assertEqual(stream.receive(10).id, slow)

    def test_a_length_prefix_may_be_split_anywhere(self):
        packet = framed(raw_question("listed.org", identity=77))
        with Stream() as stream:
            for cut in range(1, len(packet)):
                stream.send(packet[:cut])
                stream.send(packet[cut:])
                self.assertEqual(stream.receive().id, 77)

    def test_octet_by_octet_is_fine(self):
        packet = framed(raw_question("listed.org", identity=78))
        with Stream() as stream:
            for octet in packet:
                stream.send(bytes([octet]))
            self.assertEqual(stream.receive().id, 78)

    def test_the_end_of_one_message_may_come_with_the_next(self):
        packet = framed(raw_question("listed.org", identity=1)) * 3
        with Stream() as stream:
            stream.send(packet[:50])
            stream.send(packet[50:])
            self.assertEqual([stream.receive().id for _ in range(3)], [1, 1, 1])

    def test_an_idle_connection_is_closed(self):
        with Stream() as stream:
            stream.ask("listed.org")
            stream.receive()
            took = stream.closed_within(4)
        self.assertIsNotNone(took)
        self.assertGreater(took, IDLE_S * 0.5)
        self.assertLess(took, (IDLE_S + 1.5) * PATIENCE)

    def test_half_a_message_does_not_hold_a_connection(self):
        with Stream() as stream:
            stream.send(b"\0")
            self.assertIsNotNone(stream.closed_within(4))

    def test_a_connection_that_never_pauses_ends_at_the_total_time(self):
        start = time.monotonic()
        with Stream() as stream:
            with self.assertRaises((EOFError, OSError)):
                while time.monotonic() - start < 10 * PATIENCE:
                    stream.ask("listed.org")
                    stream.receive()
        self.assertGreater(time.monotonic() - start, 2)

    def test_a_client_has_no_more_connections_than_allowed(self):
        source = "127.5.5.5"
        streams = []
        try:
            for _ in range(PER_CLIENT + 5):
                streams.append(Stream(source=source))
            alive = sum(1 for stream in streams if answers(stream))
            self.assertEqual(alive, PER_CLIENT)
            with Stream(source="127.5.5.6") as other:
                self.assertTrue(answers(other))
        finally:
            for stream in streams:
                stream.socket.close()
        self.assertGreaterEqual(
            self.daemon.metrics().sum("sinkhole_tcp_connections_total", result="refused"), 5)

    def test_a_slow_reader_stalls_nobody(self):
        slow = Stream(receive_size=2048)
        try:
            # Far more answers than the socket's buffers hold, and none is read.
            packet = framed(raw_question("large.secure.example", 16)) * 200
            slow.socket.setblocking(False)
            try:
                for _ in range(60):
                    slow.socket.send(packet)
            except (BlockingIOError, ConnectionError):
                pass
            for _ in range(20):
                for server in ("127.0.0.1", "::1"):
                    start = time.monotonic()
                    self.assert_sinkholed(self.ask("listed.org", server=server))
                    self.ask("listed.org", server=server, tcp=True)
                    self.assertLess(time.monotonic() - start, 1.0 * PATIENCE)
        finally:
            slow.socket.close()

    def test_a_message_too_short_to_be_one_ends_nothing_else(self):
        with Stream() as stream:
            stream.send(struct.pack("!H", 3) + b"abc")
            stream.socket.close()
        self.assert_sinkholed(self.ask("listed.org", tcp=True))

    def test_malformed_messages_get_formerr_and_the_connection_goes_on(self):
        with Stream() as stream:
            stream.send(framed(raw_question("listed.org", identity=5)[:-3]))
            self.assertEqual(rcode(stream.receive()), "FORMERR")
            stream.ask("listed.org", identity=6)
            self.assertEqual(stream.receive().id, 6)

    def test_a_client_that_leaves_with_questions_open_does_no_harm(self):
        for _ in range(20):
            stream = Stream()
            for number in range(20):
                stream.ask(f"gone{number}.silent.com")
            stream.socket.close()
        # What they had in flight no longer counts against this client.
        self.until(lambda: rcode(self.ask("www.secure.example")) == "NOERROR", "it resolves")

    def test_large_answers_come_whole_through_one_pipelined_connection(self):
        with Stream() as stream:
            for number in range(40):
                question = dns.message.make_query("huge.secure.example", "TXT", id=number)
                stream.send(framed(question.to_wire()))
            for _ in range(40):
                self.assertEqual(len(records(stream.receive(), "TXT")), 30)


class Full(Case):
    """More connections than there may be in all."""

    def test_connections_beyond_the_limit_are_closed_and_udp_goes_on(self):
        self.daemon = self.run_daemon(
            lists=[self.list_file("starter", "listed.org\n", kind="deny")],
            changes={"limits": {"tcp_clients": 12}})
        streams = []
        try:
            for number in range(20):
                streams.append(Stream(source=f"127.6.0.{number + 1}"))
            self.assertEqual(sum(1 for stream in streams if answers(stream)), 12)
            self.assert_sinkholed(self.ask("listed.org"))
            for stream in streams:
                stream.socket.close()
            self.until(lambda: self.ask("listed.org", tcp=True), "there is room again")
        finally:
            for stream in streams:
                stream.socket.close()
        self.daemon.stop()
