"""The targets that VMs may reach, and network policies. `arker._basics.hosts` lists what no policy can allow.

Nothing here resolves a name or opens a connection.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from attrs import frozen

from arker._basics.hosts import Address, Host, MalformedHostError, parse_host
from arker.emulator.server.goldens import NetworkJson

HOST_NAME: Final = "host.arker.internal"
"""The name by which VMs reach the machine that they run on."""

_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{0,5}))?")


@frozen
class Target:
    """A host and a port that a VM asks for."""

    host: Host
    port: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"

    @property
    def name(self) -> str:
        """The host as written in URLs."""
        return f"[{self.host}]" if isinstance(self.host, IPv6Address) else str(self.host)

    @classmethod
    def parse(cls, authority: str, *, default_port: int | None) -> Target:
        """Parse ``host:port``. Raises `MalformedHostError`, also for a missing port when there is no default."""
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
        """Parse ``example.com``, ``*.example.com`` or an IP address, each with or without ``:port``. Raises
        `MalformedHostError`.
        """
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
        """Return the policy of a VM's record. Raises `MalformedHostError`."""
        kind = str(network["type"])
        hosts = network.get(kind)
        return cls(kind, tuple([Rule.parse(str(host)) for host in hosts]) if isinstance(hosts, list) else ())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]

    def allows(self, target: Target) -> bool:
        """Return whether a VM may connect to the target. A name can still resolve to an address that `allows_address`
        denies.
        """
        listed = any(rule.matches(target) for rule in self.rules)
        return {"open": True, "allow": listed, "block": not listed}.get(self.kind, False)

    def allows_address(self, address: Address, port: int) -> bool:
        """Return whether an allowed name may resolve to this address."""
        return self.kind != "block" or self.allows(Target(address, port))

    def blocked_names(self, port: int) -> list[str]:
        """Return the names that are blocked on a port one by one. Connecting to their addresses must not evade the
        block.
        """
        rules = self.rules if self.kind == "block" else ()
        return [
            rule.host
            for rule in rules
            if isinstance(rule.host, str) and not rule.subdomains and rule.port in {None, port}
        ]


__all__ = ["HOST_NAME", "Policy", "Rule", "Target"]
