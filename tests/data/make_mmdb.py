#!/usr/bin/env python3
"""Makes a small MaxMind DB (format 2.0) from a CSV file; standard library only.

  make_mmdb.py --kind country --layout nested --build 1767225600 country.csv country-nested.mmdb

Rows are `prefix,country` or `prefix,asn,name`; lines starting with # are skipped; \\uXXXX in a name
stands for that code point. A longer prefix wins over a shorter one whatever their order. The same
input gives the same octets. Layouts: `nested` is MaxMind's (country.iso_code;
autonomous_system_number and autonomous_system_organization), `flat` that of the free databases
(country_code; asn as "AS64496" and as_name).
"""
import argparse
import csv
import ipaddress
import re
import struct
import sys

METADATA_MARKER = b"\xab\xcd\xefMaxMind.com"
TYPE_STRING, TYPE_UINT16, TYPE_UINT32, TYPE_MAP, TYPE_UINT64, TYPE_ARRAY = 2, 5, 6, 7, 9, 11


def control(kind, size):
    """The octets that say a value's type and size."""
    extra = b""
    if size >= 285:
        size, extra = 30, struct.pack(">H", size - 285)
    elif size >= 29:
        size, extra = 29, bytes([size - 29])
    if kind < 8:
        return bytes([kind << 5 | size]) + extra
    return bytes([size, kind - 7]) + extra


def encoded(value):
    """A value as the data section holds it. Integers come as (type, number)."""
    if isinstance(value, str):
        octets = value.encode()
        return control(TYPE_STRING, len(octets)) + octets
    if isinstance(value, dict):
        parts = [encoded(key) + encoded(item) for key, item in value.items()]
        return control(TYPE_MAP, len(parts)) + b"".join(parts)
    if isinstance(value, list):
        return control(TYPE_ARRAY, len(value)) + b"".join(encoded(item) for item in value)
    kind, number = value
    octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return control(kind, len(octets)) + octets


def record(kind, layout, row):
    if kind == "country":
        return {"country": {"iso_code": row[1]}} if layout == "nested" else {"country_code": row[1]}
    name = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), row[2])
    if layout == "nested":
        return {"autonomous_system_number": (TYPE_UINT32, int(row[1])),
                "autonomous_system_organization": name}
    return {"asn": "AS" + row[1], "as_name": name}


def bits_of(prefix, ip_version):
    """A prefix's bits in the tree; IPv4 lives below ::/96 in a tree of IPv6."""
    network = ipaddress.ip_network(prefix)
    if network.version > ip_version:
        raise ValueError(f"{prefix} does not fit into a tree of IPv4")
    bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[:network.prefixlen]
    return "0" * 96 + bits if network.version < ip_version else bits


class Tree:
    """Nodes are pairs of: None, the index of another node, or ("data", offset)."""

    def __init__(self):
        self.nodes = [[None, None]]

    def add(self, bits, leaf):
        """Shorter prefixes first: a longer one splits the leaf that it meets."""
        at = 0
        for bit in bits[:-1]:
            side = int(bit)
            below = self.nodes[at][side]
            if not isinstance(below, int):
                self.nodes.append([below, below])
                self.nodes[at][side] = below = len(self.nodes) - 1
            at = below
        self.nodes[at][int(bits[-1])] = leaf

    def octets(self):
        count = len(self.nodes)

        def number(value):
            if value is None:
                return count
            return value if isinstance(value, int) else count + 16 + value[1]

        pairs = [[number(value) for value in node] for node in self.nodes]
        size = 24 if max(map(max, pairs)) < 1 << 24 else 32
        width = size // 8
        return size, b"".join(left.to_bytes(width, "big") + right.to_bytes(width, "big")
                              for left, right in pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=("country", "asn"), required=True)
    parser.add_argument("--layout", choices=("flat", "nested"), required=True)
    parser.add_argument("--ip-version", type=int, choices=(4, 6), default=6)
    parser.add_argument("--build", type=int, required=True, help="build time, seconds since 1970")
    parser.add_argument("csv")
    parser.add_argument("mmdb")
    options = parser.parse_args()

    with open(options.csv, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    leaves = []
    data = b""
    offsets = {}
    for line, row in enumerate(rows, 1):
        try:
            bits = bits_of(row[0], options.ip_version)
            octets = encoded(record(options.kind, options.layout, row))
        except (ValueError, IndexError) as error:
            sys.exit(f"{options.csv}: row {line}: {error}")
        if octets not in offsets:
            offsets[octets] = len(data)
            data += octets
        leaves.append((bits, ("data", offsets[octets])))
    tree = Tree()
    for bits, leaf in sorted(leaves, key=lambda pair: len(pair[0])):
        tree.add(bits, leaf)

    record_size, nodes = tree.octets()
    metadata = {
        "binary_format_major_version": (TYPE_UINT16, 2),
        "binary_format_minor_version": (TYPE_UINT16, 0),
        "build_epoch": (TYPE_UINT64, options.build),
        "database_type": f"sinkhole-{options.kind}-{options.layout}",
        "description": {"en": f"{options.kind}, {options.layout} layout"},
        "ip_version": (TYPE_UINT16, options.ip_version),
        "languages": [],
        "node_count": (TYPE_UINT32, len(tree.nodes)),
        "record_size": (TYPE_UINT16, record_size),
    }
    with open(options.mmdb, "wb") as file:
        file.write(nodes + bytes(16) + data + METADATA_MARKER + encoded(metadata))


if __name__ == "__main__":
    main()
