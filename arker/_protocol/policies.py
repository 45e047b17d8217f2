"""Network policies: the four kinds of `NetworkPolicy`, as the rules of generation 1. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard, cast

from arker import models

_HOSTS, _IPS, _REST = "network.hosts", "network.ips", "network.rest"
_PRIORITIES: Final = {_HOSTS: 1_000_000, _IPS: 999_999, _REST: 999_998}
"""The highest ones: whatever else the source's policy says, these rules decide."""


def policies_of(policy: object) -> dict[str, Any] | None:
    """Return the policy of generation 1 that means the same as a network policy; None if there is none.

    Three rules are always named, those that are not needed as null: the policy of the source has them, too, if it was
    written by this function.
    """
    if policy is True or isinstance(policy, models.NetworkPolicyOpen):
        return _rules((), "allow", "allow")
    if policy is False or isinstance(policy, models.NetworkPolicyBlocked):
        return _rules((), "deny", "deny")
    if isinstance(policy, models.NetworkPolicyAllow):
        return _rules(policy.allow, "allow", "deny")
    if isinstance(policy, models.NetworkPolicyBlock):
        return _rules(policy.block, "deny", "allow")
    return None


def _rules(targets: Sequence[str], listed: str, rest: str) -> dict[str, Any] | None:
    hosts: list[str] = []
    ips: list[str] = []
    for target in targets:
        if _is_address(target):
            ips.append(target)
        elif ":" in target:
            return None  # a port of one host
        else:
            hosts.append(target.removeprefix("*."))  # a name stands for its subdomains, too
    rules = {
        _HOSTS: _rule(_HOSTS, listed, {"hosts": hosts}) if hosts else None,
        _IPS: _rule(_IPS, listed, {"ips": ips}) if ips else None,
        _REST: _rule(_REST, rest),
    }
    return {"rules": rules}


def _rule(name: str, action: str, match: Mapping[str, Any] | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"type": "outbound", "priority": _PRIORITIES[name]}
    if match is not None:
        rule["match"] = match
    return {**rule, "action": action}


def _is_address(target: str) -> bool:
    from ipaddress import ip_network  # few policies are lists

    try:
        ip_network(target, strict=False)
    except ValueError:
        return False
    return True


def network_of(policies: object) -> dict[str, Any] | None:
    """Return the network policy that a policy of generation 1 means, as JSON; None if it means something else."""
    rules: object = policies.get("rules") if _is_object(policies) else None
    if not _is_object(rules):
        return None
    outbound = {name: rule for name, rule in rules.items() if _is_object(rule) and rule.get("type") == "outbound"}
    if not outbound:
        return {"type": "open"}
    rest = outbound.pop(_REST, None)
    if rest is None or rest.get("match") or not outbound.keys() <= {_HOSTS, _IPS}:
        return None
    targets: list[str] = []
    for name, member in ((_HOSTS, "hosts"), (_IPS, "ips")):
        rule = outbound.get(name)
        if rule is None:
            continue
        match = rule.get("match")
        listed: object = match.get(member) if _is_object(match) else None
        if not isinstance(listed, list) or rule.get("action") == rest.get("action"):
            return None
        targets += [str(target) for target in cast("list[object]", listed)]
    allows = rest.get("action") == "allow"
    if not targets:
        return {"type": "open" if allows else "blocked"}
    return {"type": "block", "block": targets} if allows else {"type": "allow", "allow": targets}


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


__all__ = ["network_of", "policies_of"]
