"""The domain name system of the tests: a signed root, TLDs, and leaf zones with every kind of trouble.

Zones are written and signed at each run, so that no signature in the repository ever expires.
"""

import os
import re
import subprocess
import time

ROOT = "127.0.1.1"
TLDS = {"example": "127.0.2.1", "org": "127.0.2.2", "net": "127.0.2.3", "com": "127.0.2.4"}
DEAD = "127.0.3.9"  # nothing listens here
SILENT = "127.0.3.10"  # takes packets and says nothing
NEGATIVE_TTL = 60

LARGE_SIZE = 1600  # octets of one TXT RRset: more than a UDP answer of 1,232 holds
HUGE_SIZE = 6000  # more than 4,096


def _strings(size, tag):
    """TXT records of about `size` octets in all."""
    return "".join(
        f'{tag} 300 IN TXT "{index:04d}{"x" * 196}"\n' for index in range(size // 200)
    )


SECURE = (
    """
@ 300 IN A 198.18.0.1
@ 300 IN AAAA 2001:db8:53::1
www 300 IN A 198.18.0.2
www 300 IN AAAA 2001:db8:53::2
host 300 IN A 198.18.0.3
alias 300 IN CNAME www
only4 300 IN A 198.18.0.4
mail 300 IN MX 10 www
text 300 IN TXT "one" "two"
brief 2 IN A 198.18.0.5
*.wild 300 IN A 198.18.0.6
Mixed.Case 300 IN A 198.18.0.7
we\\.ird 300 IN A 198.18.0.8
sp\\032ace 300 IN A 198.18.0.9
nul\\000x 300 IN A 198.18.0.10
moved 300 IN DNAME target
x.target 300 IN A 198.18.0.11
away 300 IN DNAME two.net.
caa 300 IN CAA 0 issue "ca.example"
"""
    + _strings(LARGE_SIZE, "large")
    + _strings(HUGE_SIZE, "huge")
)

INSECURE = (
    """
@ 300 IN A 198.18.1.1
www 300 IN A 198.18.1.2
private 300 IN A 10.1.2.3
mix 300 IN A 198.18.1.4
toward 300 IN CNAME www.listed.org.
*.many 300 IN A 198.18.1.3
a.loop 300 IN CNAME b.loop
b.loop 300 IN CNAME a.loop
"""
    + "".join(f"link{n} 300 IN CNAME link{n + 1}\n" for n in range(24))
    + "link24 300 IN A 198.18.1.5\n"
    + _strings(LARGE_SIZE, "large")
)


class Zone:
    """One zone: name, address of its server, records, and how it is signed (None, "nsec", "nsec3")."""

    def __init__(self, name, address, records, signing=None, spoil=None, ds=True, expired=False):
        self.name = name
        self.address = address
        self.records = records
        self.signing = signing
        self.spoil = spoil  # changes the signed text: (text) -> text
        self.ds = ds
        self.expired = expired
        self.path = None
        self.ds_record = ""

    @property
    def glue(self):
        """NS record and address for the parent."""
        if self.name == ".":
            return ""
        kind = "AAAA" if ":" in self.address else "A"
        return (
            f"{self.name}. 3600 IN NS ns.{self.name}.\nns.{self.name}. 3600 IN {kind} {self.address}\n"
            + (self.ds_record if self.ds else "")
        )


def _tampered(text):
    changed = text.replace("198.18.2.2", "198.18.2.66")
    assert changed != text
    return changed


def leaves():
    """The zones below the TLDs."""
    return [
        Zone("secure.example", "127.0.3.1", SECURE, "nsec"),
        Zone("insecure.example", "127.0.3.2", INSECURE),
        Zone("bogus.example", "127.0.3.3", "www 300 IN A 198.18.2.2\nfine 300 IN A 198.18.2.3\n",
             "nsec", spoil=_tampered),
        Zone("expired.example", "127.0.3.4", "www 300 IN A 198.18.2.4\n", "nsec", expired=True),
        Zone("hashed.org", "127.0.3.5", "www 300 IN A 198.18.3.1\n", "nsec3"),
        # a chain of four links over five zones; its third name is track.two.net
        Zone("shop.com", "127.0.3.6",
             "@ 300 IN A 198.18.4.1\nwww 300 IN CNAME cdn.one.org.\nplain 300 IN A 198.18.4.2\n"
             "*.rand 300 IN A 198.18.4.3\n"),
        Zone("one.org", "127.0.3.7", "cdn 300 IN CNAME track.two.net.\n", "nsec"),
        Zone("two.net", "127.0.3.8", "track 300 IN CNAME edge.three.com.\nwww 300 IN A 198.18.4.4\n"),
        Zone("three.com", "127.0.3.11", "edge 300 IN CNAME host.secure.example.\n"),
        Zone("listed.org", "127.0.3.12", "www 300 IN A 198.18.5.1\n@ 300 IN A 198.18.5.2\n"),
        Zone("six.net", "::1", "www 300 IN AAAA 2001:db8:53::6\n"),
        Zone("dead.com", DEAD, ""),
        Zone("silent.com", SILENT, ""),
    ]


class World:
    """All zones, written and signed below `folder`."""

    def __init__(self, folder, zones=None):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.leaves = leaves() if zones is None else zones
        for zone in self.leaves:
            if zone.address not in (DEAD, SILENT):
                self._write(zone)
        self.tlds = []
        for name, address in TLDS.items():
            below = [zone for zone in self.leaves if zone.name.endswith("." + name)]
            tld = Zone(name, address, "".join(zone.glue for zone in below),
                       "nsec3" if name == "org" else "nsec")
            self._write(tld)
            self.tlds.append(tld)
        self.root = Zone(".", ROOT, "".join(tld.glue for tld in self.tlds), "nsec")
        self._write(self.root)
        self.hints_path = os.path.join(folder, "root.hints")
        with open(self.hints_path, "w", encoding="ascii") as file:
            file.write(f". 3600000 NS a.root.\na.root. 3600000 A {ROOT}\n")
        self.anchor_path = os.path.join(folder, "root.anchor")
        with open(self.anchor_path, "w", encoding="ascii") as file:
            file.write(self.root.ds_record)

    def _write(self, zone):
        origin = "." if zone.name == "." else zone.name + "."
        server = "a.root." if zone.name == "." else f"ns.{origin}"
        kind = "AAAA" if ":" in zone.address else "A"
        base = zone.name if zone.name != "." else "root"
        zone.path = os.path.join(self.folder, base + ".zone")
        with open(zone.path, "w", encoding="ascii") as file:
            file.write(
                f"$ORIGIN {origin}\n$TTL 3600\n"
                f"{origin} 3600 IN SOA {server} hostmaster.{origin if origin != '.' else ''} "
                f"1 3600 600 86400 {NEGATIVE_TTL}\n"
                f"{origin} 3600 IN NS {server}\n{server} 3600 IN {kind} {zone.address}\n"
                f"{zone.records}"
            )
        if zone.signing:
            self._sign(zone, origin)

    def _sign(self, zone, origin):
        key = self._run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", origin).strip()
        with open(os.path.join(self.folder, key + ".ds"), encoding="ascii") as file:
            zone.ds_record = re.sub(r"\s+IN\s+DS\s+", " 3600 IN DS ", file.read(), count=1)
        now = time.time()
        start = now - 86400 * (30 if zone.expired else 1)
        end = now - 86400 if zone.expired else now + 86400 * 7
        stamp = "%Y%m%d%H%M%S"
        command = ["ldns-signzone", "-o", origin, "-f", zone.path + ".signed",
                   "-i", time.strftime(stamp, time.gmtime(start)),
                   "-e", time.strftime(stamp, time.gmtime(end))]
        if zone.signing == "nsec3":
            command += ["-n", "-a", "1", "-t", "0"]
        self._run(*command, zone.path, key)
        zone.path += ".signed"
        if zone.spoil:
            with open(zone.path, encoding="ascii") as file:
                text = zone.spoil(file.read())
            with open(zone.path, "w", encoding="ascii") as file:
                file.write(text)

    def _run(self, *command):
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout
