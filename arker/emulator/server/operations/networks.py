"""The network policies of VMs: their form in requests, and their effect (contract, section 4)."""

from __future__ import annotations

from typing import Any

from arker._basics.hosts import MalformedHostError
from arker.emulator.server import parsing
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import invalid, require_http, unsupported
from arker.emulator.server.goldens import NetworkJson
from arker.emulator.server.proxy.egress import Policy, Rule
from arker.emulator.server.proxy.egress_dial import Dialer
from arker.emulator.server.proxy.egress_proxy import EgressProxy
from arker.emulator.server.records import VmRecord

_MOST_HOSTS = 1000


def parse(fields: parsing.Fields) -> NetworkJson | None:
    """Parse the policy that a fork asks for, if any, into the form that VMs use."""
    value = fields.raw("network")
    if value is None:
        return None
    if isinstance(value, bool):
        return {"type": "open" if value else "blocked"}
    if isinstance(value, str):
        if value not in {"open", "blocked"}:
            raise invalid("network", "open or blocked, true or false, or an object")
        return {"type": value}
    policy = fields.object("network", "NetworkPolicy")
    kind = None if policy is None else policy.text("type")
    if policy is None or kind not in {"open", "blocked", "allow", "block"}:
        raise invalid("network.type", "open, blocked, allow or block")
    return {"type": kind, kind: _hosts(policy, kind)} if kind in {"allow", "block"} else {"type": kind}


def _hosts(fields: parsing.Fields, key: str) -> list[str]:
    given: Any = fields.raw(key)
    if not isinstance(given, list) or len(given) > _MOST_HOSTS:  # pyright: ignore[reportUnknownArgumentType]
        raise invalid(fields.name(key), f"a list of at most {_MOST_HOSTS} hosts")
    hosts: list[str] = []
    examples = "hosts such as example.com, *.example.com, 192.0.2.1 or example.com:443"
    for host in given:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(host, str):
            raise invalid(fields.name(key), examples)
        try:
            Rule.parse(host)
        except MalformedHostError as error:
            raise invalid(fields.name(key), f"{examples}, not {host[:100]!r}: {error}") from None
        hosts.append(host)
    return hosts


def require_enforceable(backend: Backend, network: NetworkJson, *, asked: bool) -> None:
    """Refuse a policy that could be recorded but not enforced.

    A default policy (``asked`` is false) is never refused: if it cannot be served, commands and files still work.
    """
    if asked and network["type"] != "blocked" and backend.provider.confines_network:
        require_http("network")
    if not backend.provider.confines_network and network["type"] != "open":
        raise unsupported(
            "network: without isolation commands have this machine's network, so no policy but open is possible",
            "network_policy",
        )


def outlet(backend: Backend, network: NetworkJson, *, changeable: bool) -> EgressProxy | None:
    """Return the outlet that a network policy allows. One that may change needs an outlet in any case."""
    policy = Policy.of(network)
    if policy.kind == "blocked" and not changeable:
        return None
    dialer = Dialer(policy, host_ports=backend.options.host_ports, upstreams=backend.upstreams)
    return EgressProxy(dialer, backend.egress_room)


def can_change(backend: Backend, vm: VmRecord, network: NetworkJson) -> bool:
    """Return whether a VM can get this policy."""
    return network == vm.network or isinstance(vm.outlet, EgressProxy) or not backend.provider.confines_network


def change(vm: VmRecord, network: NetworkJson) -> None:
    """Put another policy into force. Connections under the former one end."""
    if isinstance(vm.outlet, EgressProxy):
        vm.outlet.obey(Policy.of(network))


__all__ = ["can_change", "change", "outlet", "parse", "require_enforceable"]
