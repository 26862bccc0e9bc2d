"""What goes over the loopback interface to port 53: every packet, seen by the kernel's own eye."""

import socket
import struct
import threading

ETH_P_ALL = 3
PACKET_OUTGOING = 4


class Wire:
    """Sees packets to port 53 while it is open: (address, name asked) of each, and who sent them."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.socket.bind(("lo", ETH_P_ALL))
        self.socket.settimeout(0.05)
        self.packets = []
        self.sources = set()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.socket.close()

    def names(self):
        """Names asked of servers so far."""
        return [name for _, name in self.packets]

    def _watch(self):
        while not self.ended.is_set():
            try:
                packet, where = self.socket.recvfrom(65535)
            except socket.timeout:
                continue
            # On lo each packet is seen twice, going out and coming in.
            if where[2] != PACKET_OUTGOING:
                self._take(packet)

    def _take(self, packet):
        if packet[0] >> 4 == 4:
            header, protocol = (packet[0] & 15) * 4, packet[9]
            source = socket.inet_ntop(socket.AF_INET, packet[12:16])
            address = socket.inet_ntop(socket.AF_INET, packet[16:20])
        else:
            header, protocol = 40, packet[6]
            source = socket.inet_ntop(socket.AF_INET6, packet[8:24])
            address = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        if protocol not in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
            return
        (port,) = struct.unpack("!H", packet[header + 2 : header + 4])
        if port != 53:
            return
        name = ""
        if protocol == socket.IPPROTO_UDP:
            name = _name(packet[header + 8 + 12 :])
        self.packets.append((address, name))
        self.sources.add(source)


def _name(octets):
    labels = []
    at = 0
    while at < len(octets) and 0 < octets[at] < 64:
        labels.append(octets[at + 1 : at + 1 + octets[at]].decode("latin-1").lower())
        at += 1 + octets[at]
    return ".".join(labels)
