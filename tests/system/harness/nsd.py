"""nsd processes that serve the zones, each on addresses of its own."""

import os
import signal
import socket

import dns.message
import dns.query

from . import network
from .wait import until


class Nsd:
    """One nsd for some zones; it listens on the zones' addresses."""

    def __init__(self, folder, name, zones):
        self.zones = zones
        self.addresses = sorted({zone.address for zone in zones})
        home = os.path.join(folder, "nsd-" + name)
        os.makedirs(home)
        self.log_path = os.path.join(home, "log")
        lines = ["server:", "server-count: 1", "port: 53", 'username: ""', 'chroot: ""',
                 f'zonesdir: "{home}"', f'xfrdir: "{home}"', f'zonelistfile: "{home}/zone.list"',
                 f'xfrdfile: "{home}/xfrd.state"', 'pidfile: ""', 'database: ""', "verbosity: 0",
                 "rrl-ratelimit: 0", "rrl-whitelist-ratelimit: 0", "minimal-responses: yes",
                 "tcp-count: 200", "hide-version: yes"]
        lines += [f"ip-address: {address}" for address in self.addresses]
        lines += ["remote-control:", "control-enable: no"]
        for zone in zones:
            lines += ["zone:", f'name: "{zone.name}"', f'zonefile: "{zone.path}"']
        path = os.path.join(home, "nsd.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        self.process = network.start(["nsd", "-d", "-c", path], self.log_path,
                                     start_new_session=True)
        for zone in zones:
            until(lambda zone=zone: self._answers(zone), f"nsd {name} answers for {zone.name}", 10)

    def _answers(self, zone):
        assert self.process.poll() is None, "nsd ended: see " + self.log_path
        question = dns.message.make_query(zone.name, "SOA")
        try:
            answer = dns.query.udp(question, zone.address, timeout=0.2)
        except dns.exception.Timeout:
            return False
        return bool(answer.answer)

    def _signal(self, number):
        os.killpg(self.process.pid, number)

    def freeze(self):
        """SIGSTOP to all of its processes: questions to it wait."""
        self._signal(signal.SIGSTOP)

    def thaw(self):
        """Undoes freeze()."""
        self._signal(signal.SIGCONT)

    def stop(self):
        """Ends it. Safe to call twice."""
        if self.process.poll() is None:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except Exception:
                self._signal(signal.SIGKILL)
                self.process.wait()


class Internet:
    """Every name server of the world: root, TLDs, leaves, and one that is silent."""

    def __init__(self, folder, world):
        self.world = world
        self.servers = []
        self.silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.silent.bind(("127.0.3.10", 53))
            served = [zone for zone in world.leaves if zone.path]
            self.servers.append(Nsd(folder, "root", [world.root]))
            self.servers.append(Nsd(folder, "tlds", world.tlds))
            self.servers.append(Nsd(folder, "leaves", served))
        except BaseException:
            self.stop()
            raise

    def freeze(self):
        for server in self.servers:
            server.freeze()

    def thaw(self):
        for server in self.servers:
            server.thaw()

    def stop(self):
        for server in self.servers:
            server.stop()
        self.silent.close()
