"""Public IP addresses. Asked for by name: in instruction data most are examples.

Enters: a text. Leaves: where they are. Knows no other kind.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

# IPv6 of 2000::/3, all that is assigned: a::b is also how C++ names things.
_ADDRESS = re.compile(
    r"(?<![\w.:/=-])(?:(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)"
    r"|[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:])",
    re.ASCII,
)
_VERSION = re.compile(r"(?:version|release|build|版本|\bv)\W{0,3}\Z", re.IGNORECASE)
# Everybody's: resolvers of Google, Cloudflare, Quad9, OpenDNS and 114DNS.
_RESOLVERS = frozenset(
    {
        "1.0.0.1", "1.1.1.1", "8.8.4.4", "8.8.8.8", "9.9.9.9", "114.114.114.114",
        "208.67.220.220", "208.67.222.222",
    }
)  # fmt: skip


def ip_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Spans of addresses that are routed; private ranges, those for documentation, public resolvers
    and version numbers are left out.

    >>> list(ip_addresses("59.187.84.127, 192.168.0.1, 203.0.113.9, 8.8.8.8, version 12.4.1.7"))
    [(0, 13)]
    """
    for match in _ADDRESS.finditer(text):
        start, end = match.span()
        try:
            address = ipaddress.ip_address(match.group())
        except ValueError:
            continue
        known = match.group() in _RESOLVERS or _VERSION.search(text[max(0, start - 12) : start])
        if address.is_global and not address.is_multicast and not known:
            yield start, end
