#!/usr/bin/env python3
"""Writes a file as a C array: embed.py FILE HEADER SYMBOL > OUTPUT. The array ends in a NUL that its
size does not count."""
import sys

path, header, symbol = sys.argv[1:]
with open(path, 'rb') as file:
    octets = file.read()
print(f'#include "{header}"\n\nconst char {symbol}[] = {{')
for at in range(0, len(octets), 16):
    print('    ' + ' '.join(f'{octet},' for octet in octets[at:at + 16]))
print(f'    0}};\nconst size_t {symbol}_size = sizeof({symbol}) - 1;')
