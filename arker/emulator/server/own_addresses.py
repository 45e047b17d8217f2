"""The addresses that are this machine's own: those that a socket can be bound to, whatever the routes say."""

from __future__ import annotations

import errno
import re
import socket
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from arker._basics.hosts import Address, embedded, plain

_SYSTEM: Final = Path("/proc")
_IPV4 = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL")


def is_own(address: Address, system: Path = _SYSTEM) -> bool:
    """Return whether an address is this machine's, or stands for an IPv4 address that is.

    Args:
        address: The address.
        system: The directory of the kernel's information about addresses.

    Returns:
        True also if the answer cannot be determined, for example for lack of descriptors.
    """
    address = plain(address)
    return _can_be_bound(address, system) or any(_can_be_bound(inner, system) for inner in embedded(address))


def _can_be_bound(address: Address, system: Path) -> bool:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
        # Machines that take over each other's addresses (failover) let programs bind them in advance.
        return not _binds_any(address, system) or address in _listed(system)
    except OSError as error:
        # A machine without addresses of this version has none to reach.
        return error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def _binds_any(address: Address, system: Path) -> bool:
    """Return whether programs may bind addresses that the machine does not have."""
    setting = system / "sys/net" / f"ipv{address.version}" / "ip_nonlocal_bind"
    try:
        return setting.read_text().strip() != "0"
    except OSError:
        return False


def _listed(system: Path) -> set[Address]:
    """Return the addresses of all interfaces, as the kernel lists them."""
    found: set[Address] = set()
    found.update(IPv4Address(text) for text in _IPV4.findall((system / "net/fib_trie").read_text()))
    interfaces = system / "net/if_inet6"
    if interfaces.exists():  # missing where IPv6 is disabled
        found.update(IPv6Address(int(line.split()[0], 16)) for line in interfaces.read_text().splitlines())
    return found


__all__ = ["is_own"]
