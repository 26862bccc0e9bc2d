"""Asking questions, as a client on the network would."""

import socket
import struct
import time

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from .wait import PATIENCE

BLOCKED = 15  # RFC 8914; a legal order's answer says 16
CENSORED = 16
DNSSEC_BOGUS = 6
NOT_READY = 14


def ask(name, kind="A", *, server="127.0.0.1", port=5300, tcp=False, edns=True, dnssec=False,
        checking=True, ad=False, size=1232, source=None, seconds=8.0, flags=None):
    """Asks once and returns the answer; dns.exception.Timeout when there is none.

    edns: with an OPT record; dnssec: DO; checking False: CD; ad: AD set in the question.
    """
    question = dns.message.make_query(name, kind)
    if edns:
        question.use_edns(0, dns.flags.DO if dnssec else 0, size)
    else:
        question.use_edns(False)
    if not checking:
        question.flags |= dns.flags.CD
    if ad:
        question.flags |= dns.flags.AD
    if flags is not None:
        question.flags = flags
    send = dns.query.tcp if tcp else dns.query.udp
    return send(question, server, port=port, timeout=seconds * PATIENCE, source=source)


def rcode(answer):
    """Its rcode as text."""
    return dns.rcode.to_text(answer.rcode())


def records(answer, kind, section=None):
    """Texts of all records of a type in the answer section, sorted."""
    wanted = dns.rdatatype.from_text(kind)
    rrsets = answer.answer if section is None else section
    return sorted(
        record.to_text() for rrset in rrsets if rrset.rdtype == wanted for record in rrset
    )


def ttl(answer, kind, section=None):
    """TTL of the first RRset of a type."""
    wanted = dns.rdatatype.from_text(kind)
    rrsets = answer.answer if section is None else section
    return next(rrset.ttl for rrset in rrsets if rrset.rdtype == wanted)


def errors(answer):
    """Extended errors (RFC 8914) as pairs of code and text."""
    return [
        (int(option.code), option.text or "")
        for option in answer.options
        if option.otype == dns.edns.OptionType.EDE
    ]


def has_flag(answer, text):
    """Whether a header flag is set: "AD", "TC", "RA", "AA", "CD", "RD"."""
    return bool(answer.flags & dns.flags.from_text(text))


def exchange(packet, *, server="127.0.0.1", port=5300, seconds=2.0, source=None):
    """Sends octets over UDP as they are. Returns the answer's octets, or None."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as door:
        if source:
            door.bind((source, 0))
        door.settimeout(seconds * PATIENCE)
        door.sendto(packet, (server, port))
        try:
            return door.recvfrom(65535)[0]
        except socket.timeout:
            return None


class Stream:
    """A TCP connection on which each octet is under the test's control."""

    def __init__(self, server="127.0.0.1", port=5300, source=None, receive_size=None):
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_size:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_size)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(8 * PATIENCE)
        self.socket.connect((server, port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, octets):
        self.socket.sendall(octets)

    def ask(self, name, kind="A", identity=None):
        """Sends one question without waiting. Returns its id."""
        question = dns.message.make_query(name, kind, use_edns=0, payload=1232)
        if identity is not None:
            question.id = identity
        self.send(framed(question.to_wire()))
        return question.id

    def receive(self, seconds=None):
        """The next whole answer; EOFError when the server has closed the connection."""
        if seconds is not None:
            self.socket.settimeout(seconds * PATIENCE)
        (size,) = struct.unpack("!H", self._exactly(2))
        return dns.message.from_wire(self._exactly(size))

    def _exactly(self, size):
        octets = b""
        while len(octets) < size:
            more = self.socket.recv(size - len(octets))
            if not more:
                raise EOFError("closed by the server")
            octets += more
        return octets

    def closed_within(self, seconds):
        """Waits for the server to close. Returns the seconds it took, or None."""
        start = time.monotonic()
        self.socket.settimeout(seconds * PATIENCE)
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except socket.timeout:
            return None
        return time.monotonic() - start


def framed(packet):
    """A message with its length before it (RFC 1035, 4.2.2)."""
    return struct.pack("!H", len(packet)) + packet


def name_octets(name):
    """Wire form of a plain name."""
    labels = [label for label in name.strip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def raw_question(name="www.secure.example", kind=1, klass=1, *, identity=0x1234, flags=0x0100,
                 questions=1, additional=0, tail=b""):
    """A question built octet by octet, with whatever counts and tail a test wants."""
    header = struct.pack("!6H", identity, flags, questions, 0, 0, additional)
    body = b"" if questions == 0 else name_octets(name) + struct.pack("!HH", kind, klass)
    return header + body + tail


def opt(size=1232, version=0, flags=0, options=b"", extended=0):
    """An OPT record (RFC 6891, 6.1.2)."""
    return b"\0" + struct.pack("!HHBBHH", 41, size, extended, version, flags,
                               len(options)) + options
