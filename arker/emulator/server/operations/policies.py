"""Policies (generation 1): those that mean a network policy are enforced, and every other one is refused.

Rules are kept as they were given. `network_of` says what they mean: everything (no rules), nothing (a rule that denies
without a condition), only some hosts (rules that allow them), or all but some hosts (rules that deny them).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, Final

from aiohttp import web

from arker._basics.hosts import MalformedHostError
from arker.emulator.server import parsing
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import ServiceError, invalid, unsupported
from arker.emulator.server.goldens import NetworkJson
from arker.emulator.server.operations import networks
from arker.emulator.server.proxy.egress import Rule
from arker.emulator.server.records import Organisation, VmRecord
from arker.emulator.server.replies import json_response

Rules = dict[str, dict[str, Any]]

_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HIGHEST: Final = 1_000_000
_MOST_RULES: Final = 1000
_TYPES: Final = ("outbound", "inbound", "schedule", "lifecycle")
_SHAPES: Final = {"schedule": "ScheduleRule", "lifecycle": "LifecycleRule"}


def _refused(where: str, what: str) -> ServiceError:
    return unsupported(
        f"{where}: {what}. The embedded backend enforces rules that mean everything, nothing, only some hosts, or all "
        "but some hosts",
        "network_policy",
    )


def _refuse_secrets(fields: parsing.Fields) -> None:
    """Refuse secrets: they are for requests that a policy rewrites, which the backend does not do."""
    secrets = fields.map("secrets")
    members: dict[str, Any] = secrets or {}
    for name, value in members.items():
        where = f"{fields.name('secrets')}.{name[:100]}"
        if value is not None and (not isinstance(value, str) or value in {"", "***"}):
            raise invalid(where, "a string that is not empty, and not the *** that is shown instead of it; or null")
    if any(value is not None for value in members.values()):
        raise _refused(fields.name("secrets"), "no request is rewritten, so no secret would have an effect")


def parse(fields: parsing.Fields, before: Rules | None) -> Rules | None:
    """Return the rules that a fork or a change asks for; None when it asks for none.

    Args:
        fields: Those of the request.
        before: The rules that the update is applied to; None where the policy cannot be expressed as rules.
    """
    update = fields.object("policies", "PolicyUpdate")
    if update is None:
        return None
    _refuse_secrets(update)
    changes, entries = update.map("rules"), update.raw("policies")
    if changes is not None and entries is not None:
        raise invalid("policies.rules, policies.policies", "one of them")
    if entries is not None:
        return entries_as_rules(update, entries, "policies.policies")
    if changes is None:
        return None
    if before is None and not all(rule is None for rule in changes.values()):
        before = {}  # the rules replace what no rule can express
    return _changed(update, before or {}, changes)


def _changed(fields: parsing.Fields, before: Rules, changes: Mapping[str, Any]) -> Rules:
    rules = dict(before)
    for name, rule in changes.items():
        where = f"{fields.name('rules')}.{name[:100]}"
        if not _ID.fullmatch(name):
            raise invalid(where, "an id of 1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit")
        if rule is None:
            rules.pop(name, None)
        else:
            rules[name] = _rule(fields, rule, where, prioritised=True)
    if len(rules) > _MOST_RULES:
        raise invalid(fields.name("rules"), f"at most {_MOST_RULES} rules")
    return rules


def entries_as_rules(fields: parsing.Fields, entries: Any, where: str) -> Rules:
    """Return an ordered list of entries as rules: the first has the highest priority."""
    if not isinstance(entries, list) or len(entries) > _MOST_RULES:  # pyright: ignore[reportUnknownArgumentType]
        raise invalid(where, f"a list of at most {_MOST_RULES} entries")
    rules: Rules = {}
    for number, entry in enumerate(entries):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        rule = _rule(fields, entry, f"{where}[{number}]", prioritised=False)
        rules[f"rule-{number}"] = {**rule, "priority": _MOST_RULES - number}
    return rules


def _rule(fields: parsing.Fields, given: Any, where: str, *, prioritised: bool) -> dict[str, Any]:
    """Check a rule by itself."""
    if not isinstance(given, dict):
        raise invalid(where, "an object")
    members: dict[str, Any] = given  # pyright: ignore[reportUnknownVariableType]
    kind: Any = members.get("type")
    if not isinstance(kind, str) or kind not in (_TYPES if prioritised else _TYPES[:2]):
        raise invalid(f"{where}.type", f"one of {', '.join(_TYPES if prioritised else _TYPES[:2])}")
    rule = fields.inside(members, _SHAPES.get(kind, "PolicyRule" if prioritised else "PolicyEntry"), where)
    if kind != "outbound":
        raise _refused(where, f"a rule of the type {kind} would have no effect")
    if prioritised:
        rule.required_integer("priority", minimum=0, maximum=_HIGHEST)
    action = rule.raw("action")
    if isinstance(action, dict):
        rule.object("action", "PolicyAction")
        raise _refused(f"{where}.action", "requests are allowed or denied, and never changed or held")
    if action not in {"allow", "deny"}:
        raise invalid(f"{where}.action", "allow or deny")
    if rule.raw("auth") is not None or rule.raw("expires_at") is not None:
        raise invalid(where, "auth and expires_at only in a rule of the type inbound")
    match = rule.object("match", "PolicyMatch")
    if match is not None:
        _targets(match, f"{where}.match")
    return _given(members)


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without the members that are null: they are absent."""
    return {
        name: _given(value) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownArgumentType]
        for name, value in members.items()
        if value is not None
    }


def _targets(match: parsing.Fields, where: str) -> list[str] | None:
    """Return the hosts that a condition means, as a network policy writes them; None for all."""
    others = [name for name, value in match.items() if value is not None and name not in {"hosts", "ips", "ports"}]
    if others:
        raise _refused(f"{where}.{others[0]}", "there is no such condition on hosts and ports")
    hosts, ips, ports = match.texts("hosts"), match.texts("ips"), match.raw("ports")
    for name, value in (("hosts", hosts), ("ips", ips), ("ports", ports)):
        if value == []:
            raise invalid(f"{where}.{name}", "at least one")
    if hosts is not None and ips is not None:
        raise _refused(where, "hosts and ips in one rule would both have to match")
    suffixes = _ports(ports, where)
    if hosts is None and ips is None:
        if suffixes != [""]:
            raise _refused(f"{where}.ports", "ports without hosts mean ports of all hosts")
        return None
    if hosts is not None:
        # A host means itself and all names below it.
        names = [form for host in hosts for form in (host, f"*.{host}")]
    else:
        names = [f"[{ip}]" if ":" in ip and suffixes != [""] else ip for ip in ips or ()]
    targets = [f"{name}{suffix}" for name, suffix in product(names, suffixes)]
    for target in targets:
        try:
            rule = Rule.parse(target)
        except MalformedHostError as error:
            if hosts is None and "/" in target:
                raise _refused(f"{where}.ips", "ranges of addresses are not looked up") from None
            raise invalid(f"{where}.{'ips' if hosts is None else 'hosts'}", f"a name or an address: {error}") from None
        if (hosts is None) == isinstance(rule.host, str):
            raise invalid(f"{where}.{'ips' if hosts is None else 'hosts'}", "names in hosts, and addresses in ips")
    return targets


def _ports(ports: Any, where: str) -> list[str]:
    if ports is None:
        return [""]
    if not isinstance(ports, list):
        raise invalid(f"{where}.ports", "a list of ports")
    numbers: list[Any] = ports  # pyright: ignore[reportUnknownVariableType]
    for number in numbers:
        ends: list[Any] = number if isinstance(number, list) and len(number) == 2 else [number]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        if any(isinstance(end, bool) or not isinstance(end, int) or not 1 <= end <= 65535 for end in ends):
            raise invalid(f"{where}.ports", "port numbers from 1 to 65535")
        if len(ends) == 2:
            raise _refused(f"{where}.ports", "ranges of ports are not looked up")
    return [f":{number}" for number in numbers]


def network_of(backend: Backend, rules: Rules) -> NetworkJson:
    """Return the network policy that rules mean; 422 when they mean none."""
    ordered = sorted(rules.values(), key=lambda rule: -int(rule["priority"]))
    if len({rule["priority"] for rule in ordered}) < len(ordered):
        raise invalid("policies.rules", "a priority of its own for each rule of a type")
    kind: str | None = None
    listed: list[str] = []
    for rule in ordered:
        condition = rule.get("match")
        match = parsing.Fields(condition or {}, "PolicyMatch", backend.generation, "match.")
        targets = _targets(match, "policies.match")
        action = "allow" if rule["action"] == "allow" else "block"
        if targets is None:
            # It decides on everything that is left; the rules below it mean nothing.
            if kind is None:
                return {"type": "open" if action == "allow" else "blocked"}
            if action == kind:
                return {"type": "open" if action == "allow" else "blocked"}
            break
        if kind not in {None, action}:
            raise _refused("policies", "some hosts are allowed and others denied")
        kind = action
        listed += targets
    if kind is None:
        return {"type": "open"}
    return {"type": kind, kind: listed}


def rules_of(network: NetworkJson) -> Rules | None:
    """Return the rules that mean exactly what a network policy does; None when there are none."""
    kind = str(network["type"])
    if kind == "open":
        return {}
    if kind == "blocked":
        return {"deny-all": {"type": "outbound", "priority": 0, "action": "deny"}}
    # A host of a network policy is one name, and in a rule also all names below it.
    hosts: Any = network[kind]
    addresses = [str(host) for host in hosts]
    if not addresses or not all(_is_address(host) for host in addresses):
        return None
    action = "allow" if kind == "allow" else "deny"
    return {action: {"type": "outbound", "priority": 0, "match": {"ips": addresses}, "action": action}}


def _is_address(host: str) -> bool:
    rule = Rule.parse(host)
    return not isinstance(rule.host, str) and rule.port is None


def refuse_for_runs(fields: parsing.Fields) -> None:
    """Refuse policies in a run, which would outlive it."""
    if fields.raw("policies") is not None:
        raise _refused("policies", "they belong to a fork, or to a change of the VM")


def check(backend: Backend, vm: VmRecord, rules: Rules) -> NetworkJson:
    """Check that rules can be enforced in a VM, and return the network policy that they mean."""
    network = network_of(backend, rules)
    networks.require_enforceable(backend, network, asked=True)
    if not networks.can_change(backend, vm, network):
        raise _refused("policies", "the VM was forked without a network, and cannot get one: fork it with policies")
    return network


def _document(vm: VmRecord) -> dict[str, Any]:
    rules: Iterable[dict[str, Any]] = sorted((vm.rules or {}).values(), key=lambda rule: -int(rule["priority"]))
    kept = ("type", "match", "action")
    entries = [{name: rule[name] for name in kept if rule.get(name) is not None} for rule in rules]
    return {"policies": entries, "secrets": {}}


async def get_policies(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    return json_response(_document(backend.vm(org, request.match_info["vm_id"])))


async def put_policies(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    fields = await parsing.read_fields(backend, "PolicyWriteRequest", request)
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    _refuse_secrets(fields)
    entries = fields.raw("policies")
    rules = entries_as_rules(fields, [] if entries is None else entries, "policies")
    network = check(backend, vm, rules)
    with backend.keeper.changing(vm):
        vm.network, vm.rules = network, rules
    networks.change(vm, network)
    return json_response(_document(vm))


__all__ = ["Rules", "check", "get_policies", "network_of", "parse", "put_policies", "refuse_for_runs", "rules_of"]
