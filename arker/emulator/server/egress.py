"""Where VMs may go: hosts and addresses as they are written, network policies, and what is always out of reach.

Nothing here resolves a name or opens a connection. A host has one spelling only: names in lower case without the final
dot, addresses as `ipaddress` has them. What other programs would read as an address in an odd notation (``0x7f.1``,
``127.1``, ``2130706433``) is neither, and refused.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

from attrs import frozen

from arker.emulator.server.goldens import NetworkJson

HOST_NAME: Final = "host.arker.internal"
"""What VMs call the machine that they run on."""

Address: TypeAlias = IPv4Address | IPv6Address
Host: TypeAlias = str | IPv4Address | IPv6Address

_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{0,5}))?")
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_METADATA: Final[frozenset[Address]] = frozenset(
    (
        *(IPv4Address("100.100.100.200"), IPv4Address("168.63.129.16")),
        *(IPv6Address("fd00:ec2::254"), IPv6Address("fd20:ce::254")),
    )
)
"""Where clouds hand out credentials, beside 169.254.169.254."""
_COMPATIBLE = IPv6Network("::/96")
_TRANSLATED = IPv6Network("64:ff9b::/96")


class MalformedHostError(ValueError):
    """No host that has one meaning; the message is for people."""


def parse_host(text: str) -> Host:
    """A name or an address (of version 6 with or without brackets); raises `MalformedHostError`."""
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
    """The address; one of version 4 that is written as version 6 is the former."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


@frozen
class Target:
    """A host and a port that somebody wants to reach."""

    host: Host
    port: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"

    @property
    def name(self) -> str:
        """The host as URLs have it."""
        return f"[{self.host}]" if isinstance(self.host, IPv6Address) else str(self.host)

    @classmethod
    def parse(cls, authority: str, *, default_port: int | None) -> Target:
        """``host:port``; raises `MalformedHostError`, also for a missing port when there is no default."""
        match = _AUTHORITY.fullmatch(authority)
        if match is None:
            raise MalformedHostError("expected host:port")
        port = int(match[2]) if match[2] else default_port
        if port is None or not 0 < port < 65536:
            raise MalformedHostError("expected a port from 1 to 65535")
        return cls(parse_host(match[1]), port)


@frozen
class Rule:
    """An entry of a policy's list."""

    host: Host
    subdomains: bool = False
    """Whether it means the names below the host, and not the host itself."""
    port: int | None = None
    """None for all."""

    @classmethod
    def parse(cls, text: str) -> Rule:
        """``example.com``, ``*.example.com`` or an IP address, each with or without ``:port``; raises
        `MalformedHostError`."""
        subdomains = text.startswith("*.")
        rest = text.removeprefix("*.")
        match = None if rest.count(":") > 1 and not rest.startswith("[") else _AUTHORITY.fullmatch(rest)
        if match is None or match[2] is None:
            host, port = parse_host(rest), None
        else:
            target = Target.parse(rest, default_port=None)
            host, port = target.host, target.port
        if subdomains and not isinstance(host, str):
            raise MalformedHostError("an address has no subdomains")
        return cls(host, subdomains, port)

    def matches(self, target: Target) -> bool:
        if self.port not in {None, target.port}:
            return False
        if self.subdomains:
            return isinstance(target.host, str) and target.host.endswith(f".{self.host}")
        return target.host == self.host


@frozen
class Policy:
    """A network policy (contract, section 4)."""

    kind: str
    rules: tuple[Rule, ...] = ()

    @classmethod
    def of(cls, network: NetworkJson) -> Policy:
        """The policy of a VM's record; raises `MalformedHostError`."""
        kind = str(network["type"])
        hosts = network.get(kind)
        return cls(kind, tuple([Rule.parse(str(host)) for host in hosts]) if isinstance(hosts, list) else ())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]

    def allows(self, target: Target) -> bool:
        """Whether it lets a VM go there; a name can still resolve to an address that is not `allows_address`."""
        listed = any(rule.matches(target) for rule in self.rules)
        return {"open": True, "allow": listed, "block": not listed}.get(self.kind, False)

    def allows_address(self, address: Address, port: int) -> bool:
        """Whether a name that it allows may turn out to be this address."""
        return self.kind != "block" or self.allows(Target(address, port))

    def blocked_names(self, port: int) -> list[str]:
        """The names that it blocks on a port one by one: their addresses are no way around it."""
        rules = self.rules if self.kind == "block" else ()
        return [
            rule.host
            for rule in rules
            if isinstance(rule.host, str) and not rule.subdomains and rule.port in {None, port}
        ]


def out_of_reach(address: Address) -> bool:
    """Whether an address is out of reach whatever the policy: this machine's own, its links', clouds' metadata."""
    address = plain(address)
    if address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast:
        return True
    if isinstance(address, IPv4Address):
        return address.is_reserved or address in _THIS_NETWORK or address in _METADATA
    embedded = _embedded(address)
    return address in _METADATA or (embedded is not None and out_of_reach(embedded))


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The address of version 4 that packets to this one may be translated or unwrapped to."""
    if address in _TRANSLATED or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour


def means_this_machine(name: str) -> bool:
    """Whether a name means this machine, or a cloud's metadata, wherever it is resolved."""
    return name in {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "metadata"} or name.endswith(
        (".localhost", "metadata.google.internal")
    )


__all__ = [
    "HOST_NAME",
    "Address",
    "Host",
    "MalformedHostError",
    "Policy",
    "Rule",
    "Target",
    "means_this_machine",
    "out_of_reach",
    "parse_host",
    "plain",
]
