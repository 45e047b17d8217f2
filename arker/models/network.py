"""Network policies of a VM, and the network of a single run (contract, section 4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from arker.errors import InvalidArgumentError
from arker.models import _checks as check


def _hosts(argument: str, value: object) -> tuple[str, ...]:
    if not check.is_array(value):
        raise InvalidArgumentError(argument, value, "expected a list of host names")
    return tuple(check.check_text(f"{argument}[{index}]", host, what="a host name") for index, host in enumerate(value))


@frozen
class NetworkPolicyOpen:
    """A policy with which the VM reaches every host."""

    type: Literal["open"] = "open"


@frozen
class NetworkPolicyBlocked:
    """A policy with which the VM reaches no host."""

    type: Literal["blocked"] = "blocked"


@frozen
class NetworkPolicyAllow:
    """A policy with which the VM reaches only the hosts in ``allow``."""

    allow: tuple[str, ...]
    type: Literal["allow"] = "allow"


@frozen
class NetworkPolicyBlock:
    """A policy with which the VM reaches every host except those in ``block``."""

    block: tuple[str, ...]
    type: Literal["block"] = "block"


@frozen
class NetworkPolicyUnknown:
    """A policy of a type unknown to this version, kept unchanged."""

    type: str
    raw: Mapping[str, Any] = field(factory=dict[str, Any])


NetworkPolicy: TypeAlias = (
    NetworkPolicyOpen | NetworkPolicyBlocked | NetworkPolicyAllow | NetworkPolicyBlock | NetworkPolicyUnknown
)
NetworkPolicyInput: TypeAlias = NetworkPolicy | bool | str | Mapping[str, Any]
"""The network argument of `fork`: a policy, True (open), False (blocked), a string for the server, or a policy's
mapping."""


def network_policy(argument: str, value: object) -> NetworkPolicy | bool | str:
    """Check a caller's network policy. A mapping is converted to the class for its ``type``."""
    if isinstance(value, NetworkPolicyAllow):
        return NetworkPolicyAllow(_hosts(f"{argument}.allow", value.allow))
    if isinstance(value, NetworkPolicyBlock):
        return NetworkPolicyBlock(_hosts(f"{argument}.block", value.block))
    if isinstance(value, (bool, NetworkPolicyOpen, NetworkPolicyBlocked, NetworkPolicyUnknown)):
        return value
    if isinstance(value, str):
        return check.check_text(argument, value, what="the name of a network policy")
    kinds: dict[str, tuple[str, ...]] = {
        "open": ("type",),
        "blocked": ("type",),
        "allow": ("type", "allow"),
        "block": ("type", "block"),
    }
    if not check.is_mapping(value) or value.get("type") not in list(kinds):
        raise InvalidArgumentError(
            argument,
            value,
            "expected True, False, a string, a NetworkPolicy, or a mapping of type open, blocked, allow or block",
        )
    kind = str(value["type"])
    given = check.only_keys(argument, value, kinds[kind])
    if kind == "allow":
        return NetworkPolicyAllow(_hosts(f"{argument}['allow']", given.get("allow")))
    if kind == "block":
        return NetworkPolicyBlock(_hosts(f"{argument}['block']", given.get("block")))
    return NetworkPolicyOpen() if kind == "open" else NetworkPolicyBlocked()


Visibility: TypeAlias = Literal["private", "public"]


@frozen
class InboundPortRequest:
    """The requested reachability of a VM's port from outside during a run.

    Attributes:
        visibility: ``private`` (the server's default) or ``public``.
        protocol: The protocol; ``http`` is the server's default.
    """

    visibility: Visibility | None = field(default=None, validator=check.optional(check.one_of(("private", "public"))))
    protocol: str | None = field(default=None, validator=check.optional(check.text))


def _ports(argument: str, value: object) -> dict[str, InboundPortRequest]:
    if not check.is_mapping(value):
        raise InvalidArgumentError(argument, value, "expected a mapping of port numbers to InboundPortRequest")
    ports: dict[str, InboundPortRequest] = {}
    for key, wanted in value.items():
        where = f"{argument}[{key!r}]"
        number = str(key)
        if not re.fullmatch(r"[1-9][0-9]{0,4}", number) or int(number) > 65535:
            raise InvalidArgumentError(where, wanted, "expected a port number from 1 to 65535 as the key")
        if isinstance(wanted, InboundPortRequest):
            ports[number] = wanted
        else:
            given = check.only_keys(where, wanted, ("visibility", "protocol"))
            ports[number] = InboundPortRequest(**given)
    return ports


def _ports_of_inbound(value: Mapping[Any, Any]) -> dict[str, InboundPortRequest]:
    return _ports("ports", value)


@frozen
class InboundRequest:
    """The ports to open, by number."""

    ports: Mapping[str, InboundPortRequest] = field(factory=dict[str, InboundPortRequest], converter=_ports_of_inbound)


@frozen
class NetworkRequest:
    """The network request of a run."""

    inbound: InboundRequest | None = field(
        default=None, validator=check.optional(check.instance_of(InboundRequest, "an InboundRequest"))
    )


def network_request(argument: str, value: object) -> NetworkRequest:
    """Check a caller's network request for a run, an object or a mapping with the contract's fields."""
    if isinstance(value, NetworkRequest):
        return value
    given = check.only_keys(argument, value, ("inbound",))
    inbound = given.get("inbound")
    if inbound is None or isinstance(inbound, InboundRequest):
        return NetworkRequest(inbound)
    ports = check.only_keys(f"{argument}['inbound']", inbound, ("ports",)).get("ports")
    return NetworkRequest(InboundRequest(_ports(f"{argument}['inbound']['ports']", ports if ports is not None else {})))


@frozen(kw_only=True)
class InboundPortStatus:
    """The status of a port that a run requested.

    Attributes:
        requested: The requested visibility.
        observed: The observed visibility.
        effective: The effective visibility.
        protocol: The protocol.
        url: URL of the port; None until it is reachable.
    """

    requested: str
    observed: str
    effective: str
    protocol: str
    url: str | None = None


@frozen(kw_only=True)
class InboundStatus:
    """The ports of a run, by number."""

    ports: Mapping[str, InboundPortStatus] = field(factory=dict[str, InboundPortStatus])


@frozen(kw_only=True)
class NetworkStatus:
    """The network status of a run."""

    inbound: InboundStatus


__all__ = [
    "InboundPortRequest",
    "InboundPortStatus",
    "InboundRequest",
    "InboundStatus",
    "NetworkPolicy",
    "NetworkPolicyAllow",
    "NetworkPolicyBlock",
    "NetworkPolicyBlocked",
    "NetworkPolicyInput",
    "NetworkPolicyOpen",
    "NetworkPolicyUnknown",
    "NetworkRequest",
    "NetworkStatus",
    "Visibility",
]
