"""A parser of hosts, and checks for this machine: pure, for the client and the embedded backend alike.

A host has one spelling only: names in lower case without the final dot, addresses as `ipaddress` has them. What other
programs would read as an address in an odd notation (``0x7f.1``, ``127.1``, ``2130706433``, full-width digits) is
neither, and is refused.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Host: TypeAlias = str | IPv4Address | IPv6Address

_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
_METADATA: Final[frozenset[Address]] = frozenset(
    (
        *(IPv4Address("100.100.100.200"), IPv4Address("168.63.129.16")),
        *(IPv6Address("fd00:ec2::254"), IPv6Address("fd20:ce::254")),
    )
)
"""Hosts of clouds' credentials, beside 169.254.169.254."""
_ENDS_IN_IPV4: Final = (
    IPv6Network("::/96"),  # IPv4-compatible
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated
    IPv6Network("64:ff9b::/96"),  # NAT64
)
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)


class MalformedHostError(ValueError):
    """An error for a host without a single meaning; its message is for people."""


def parse_host(text: str) -> Host:
    """Read a name or an address (of version 6 with or without brackets); raises `MalformedHostError`."""
    try:
        if ":" in text:
            bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
            if not _IPV6.fullmatch(bare):
                raise MalformedHostError("it is no IPv6 address")
            return plain(IPv6Address(bare))
        if not _NAME.fullmatch(text) or len(text) > 254:
            raise MalformedHostError("it is no host name")
        name = text.lower().removesuffix(".")
        return IPv4Address(name) if _NUMBER.fullmatch(name.rpartition(".")[2]) else name
    except MalformedHostError:
        raise
    except ValueError:
        raise MalformedHostError("it is no IP address in its usual notation") from None


def plain(address: Address) -> Address:
    """Return the address. An IPv4 address written as IPv6 becomes IPv4."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def embedded(address: Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses that packets to an IPv6 address may be translated or unwrapped to."""
    if isinstance(address, IPv4Address):
        return ()
    number = int(address)
    last = IPv4Address(number & 0xFFFF_FFFF)
    if any(address in network for network in _ENDS_IN_IPV4) or (number >> 32) & 0xFFFF_FFFF in _ISATAP:
        return (last,)
    if address in _LOCAL_NAT64:  # the translator may have all of it as its prefix, or a part of 96 bits
        return last, IPv4Address((number >> 64 & 0xFFFF) << 16 | (number >> 40 & 0xFFFF))
    if address.sixtofour is not None:
        return (address.sixtofour,)
    return () if address.teredo is None else address.teredo


def out_of_reach(address: Address) -> bool:
    """Return whether an address must not be reachable from outside.

    These are this machine's own, those of its links, and clouds' metadata.

    This machine's addresses other than its loopback are not known here.
    """
    address = plain(address)
    if address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast:
        return True
    if isinstance(address, IPv4Address):
        return address.is_reserved or address in _THIS_NETWORK or address in _METADATA
    return address in _METADATA or any(out_of_reach(inner) for inner in embedded(address))


def means_this_machine(name: str) -> bool:
    """Return whether a name means this machine or a cloud's metadata on every resolver."""
    return name in {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "metadata"} or name.endswith(
        (".localhost", "metadata.google.internal")
    )


def leads_here(host: Host) -> bool:
    """Return whether a host is this machine or its links, by its name or address. Names are not resolved."""
    return means_this_machine(host) if isinstance(host, str) else out_of_reach(host)


__all__ = [
    "Address",
    "Host",
    "MalformedHostError",
    "embedded",
    "leads_here",
    "means_this_machine",
    "out_of_reach",
    "parse_host",
    "plain",
]
