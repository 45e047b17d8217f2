"""Policies: those that mean a network policy are in force at once, and every other one is refused."""

from __future__ import annotations

from itertools import product
from typing import Any

import aiohttp
import pytest

from tests.emulator.server.egress_support import Echo, serving
from tests.emulator.server.support import ISOLATION, Api
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio


def rule(action: str, priority: int = 1, **match: Any) -> dict[str, Any]:
    given = {"type": "outbound", "priority": priority, "action": action}
    return {**given, "match": match} if match else given


MEANINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"type": "open"}),
    ({"a": rule("allow")}, {"type": "open"}),
    ({"a": rule("deny")}, {"type": "blocked"}),
    ({"a": rule("allow", hosts=["a.example"])}, {"type": "allow", "allow": ["a.example", "*.a.example"]}),
    ({"a": rule("allow", ips=["192.0.2.1"], ports=[80])}, {"type": "allow", "allow": ["192.0.2.1:80"]}),
    ({"a": rule("allow", ips=["2001:db8::1"], ports=[80])}, {"type": "allow", "allow": ["[2001:db8::1]:80"]}),
    (
        {"a": rule("allow", 2, ips=["192.0.2.1"]), "b": rule("allow", 5, ips=["192.0.2.2"]), "c": rule("deny", 0)},
        {"type": "allow", "allow": ["192.0.2.2", "192.0.2.1"]},
    ),
    (
        {"a": rule("deny", 9, hosts=["a.example"]), "b": rule("allow", 0)},
        {"type": "block", "block": ["a.example", "*.a.example"]},
    ),
    ({"a": rule("deny", hosts=["a.example"])}, {"type": "block", "block": ["a.example", "*.a.example"]}),
    ({"a": rule("allow", 9, hosts=["a.example"]), "b": rule("allow", 0)}, {"type": "open"}),
    ({"a": rule("deny", 9, hosts=["a.example"]), "b": rule("deny", 0)}, {"type": "blocked"}),
]


async def test_rules_mean_a_network_policy(both: Api) -> None:
    for rules, network in MEANINGS:
        vm = await both.fork(policies={"rules": rules})
        assert (vm["network"], vm["policies"]) == (network, {"rules": rules, "secrets": {}})


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rules": {"a": {"type": "inbound", "priority": 1, "action": "allow"}}}, "unsupported_operation"),
    ({"rules": {"a": {"type": "schedule", "after_created": 60, "action": "delete"}}}, "unsupported_operation"),
    ({"rules": {"a": {"type": "lifecycle", "when": {"after": 60}, "action": "delete"}}}, "unsupported_operation"),
    ({"rules": {"a": rule("allow", methods=["GET"])}}, "unsupported_operation"),
    ({"rules": {"a": rule("allow", ports=[80])}}, "unsupported_operation"),
    ({"rules": {"a": rule("allow", hosts=["a.example"], ports=[[1, 80]])}}, "unsupported_operation"),
    ({"rules": {"a": rule("allow", ips=["192.0.2.0/24"])}}, "unsupported_operation"),
    ({"rules": {"a": rule("allow", hosts=["a.example"], ips=["192.0.2.1"])}}, "unsupported_operation"),
    ({"rules": {"a": {**rule("allow"), "action": {"suspend": True}}}}, "unsupported_operation"),
    (
        {"rules": {"a": rule("allow", 2, hosts=["a.example"]), "b": rule("deny", 1, hosts=["b.example"])}},
        "unsupported_operation",
    ),
    ({"secrets": {"A": "b"}}, "unsupported_operation"),
    ({"secrets": {"A": "***"}}, "bad_request"),
    ({"secrets": {"A": ""}}, "bad_request"),
    ({"secrets": {"A": 1}}, "bad_request"),
    ({"rules": {"A": rule("allow")}}, "bad_request"),
    ({"rules": {"a": {"type": "sideways", "priority": 1, "action": "allow"}}}, "bad_request"),
    ({"rules": {"a": {"type": "outbound", "action": "allow"}}}, "bad_request"),
    ({"rules": {"a": rule("suspend")}}, "bad_request"),
    ({"rules": {"a": rule("allow", hosts=["192.0.2.1"])}}, "bad_request"),
    ({"rules": {"a": rule("allow", hosts=["a b"])}}, "bad_request"),
    ({"rules": {"a": rule("allow", hosts=[])}}, "bad_request"),
    ({"rules": {"a": rule("allow", no_such=["x"])}}, "bad_request"),
    ({"rules": {"a": rule("allow", 1), "b": rule("deny", 1)}}, "bad_request"),
    ({"rules": {}, "policies": []}, "bad_request"),
    ({"more": 1}, "bad_request"),
]


async def test_what_cannot_be_enforced_is_refused(today: Api) -> None:
    vm = (await today.fork(policies={"rules": {}}))["vm_id"]
    before = await today.get(f"/v1/vms/{vm}")
    for (policies, code), (method, path) in product(REFUSED, (("POST", "/v1/fork"), ("PATCH", f"/v1/vms/{vm}"))):
        source = {"source_vm_name": "ubuntu"} if method == "POST" else {"description": "no"}
        reply = await today.call(method, path, {**source, "policies": policies})
        assert reply.code == code, policies
        if code == "unsupported_operation":
            assert reply.details == {"reason": "feature_not_supported", "feature": "network_policy"}
    assert await today.get(f"/v1/vms/{vm}") == before
    run: dict[str, Any] = {"command": "true", "policies": {"rules": {}}}
    assert (await today.call("POST", f"/v1/vms/{vm}/runs", run)).code == "unsupported_operation"


async def denied(api: Api, vm: str, *, within: float = 60) -> bool:
    """Return whether the way out refuses an address, which it says at once on an idle machine."""
    command = f"curl -s -m {within} http://192.0.2.1/; true"
    run = await api.ended(vm, await api.background(vm, command))
    return "network policy" in run["stdout"]


async def allowed(api: Api, vm: str) -> bool:
    """Return whether the way out does not refuse the address. Nothing answers at it, so no connection comes of it."""
    return not await denied(api, vm, within=1)


async def test_a_change_is_in_force_at_once(today: Api) -> None:
    vm = (await today.fork(policies={"rules": {"none": rule("deny", 0)}}))["vm_id"]
    path = f"/v1/vms/{vm}"
    assert await denied(today, vm)
    one = {"rules": {"one": rule("allow", 9, ips=["192.0.2.1"])}}
    rules = (await today.call("PATCH", path, {"policies": one})).json["policies"]["rules"]
    assert set(rules) == {"none", "one"}
    assert await allowed(today, vm)
    gone = await today.call("PATCH", path, {"policies": {"rules": {"one": None}}})
    assert set(gone.json["policies"]["rules"]) == {"none"}
    assert await denied(today, vm)
    child = (await today.fork(source_vm_id=vm))["vm_id"]
    assert await denied(today, child)
    more = (await today.fork(source_vm_id=vm, policies=one))["vm_id"]
    assert await allowed(today, more)


async def test_a_member_that_is_null_is_absent(today: Api) -> None:
    rule = {"type": "outbound", "priority": 1, "action": "deny", "auth": None, "expires_at": None}
    rules = {
        "a": {**rule, "match": {"hosts": ["a.example"], "ports": None}},
        "b": {**rule, "priority": 2, "match": None},
    }
    vm = await today.fork(policies={"rules": rules})
    expected = {"type": "outbound", "priority": 1, "action": "deny"}
    assert vm["policies"]["rules"] == {
        "a": {**expected, "match": {"hosts": ["a.example"]}},
        "b": {**expected, "priority": 2},
    }
    put = await today.call("PUT", f"/v1/vms/{vm['vm_id']}/policies", {"policies": [{**rule, "match": {"ips": None}}]})
    assert put.status == 400  # an entry has neither
    entry = {"type": "outbound", "action": "deny", "auth": None, "match": {"ips": None}}
    put = await today.call("PUT", f"/v1/vms/{vm['vm_id']}/policies", {"policies": [entry]})
    assert put.json["policies"] == [{"type": "outbound", "action": "deny", "match": {}}]


async def test_a_vm_without_a_network_gets_none(both: Api) -> None:
    vm = await both.fork(network="blocked")
    assert vm["policies"]["rules"] == {"deny-all": rule("deny", 0)}
    path = f"/v1/vms/{vm['vm_id']}"
    reply = await both.call("PATCH", path, {"policies": {"rules": {"deny-all": None}}})
    assert (reply.code, reply.details["feature"]) == ("unsupported_operation", "network_policy")
    assert (await both.call("PATCH", path, {"policies": {"rules": {}}})).status == 200


async def test_what_network_policies_mean_as_rules(both: Api) -> None:
    assert (await both.fork(network="open"))["policies"]["rules"] == {}
    listed = await both.fork(network={"type": "block", "block": ["192.0.2.1"]})
    assert listed["policies"]["rules"] == {"deny": rule("deny", 0, ips=["192.0.2.1"])}
    # A name of a network policy is that name alone, which no rule can say.
    assert "policies" not in await both.fork(network={"type": "allow", "allow": ["a.example"]})


async def test_the_former_form_of_policies(today: Api) -> None:
    vm = (await today.fork())["vm_id"]
    path = f"/v1/vms/{vm}/policies"
    assert await today.get(path) == {"policies": [], "secrets": {}}
    entries = [
        {"type": "outbound", "match": {"hosts": ["a.example"]}, "action": "allow"},
        {"type": "outbound", "action": "deny"},
    ]
    put = await today.call("PUT", path, {"policies": entries, "secrets": {}, "warnings": []})
    assert put.json == {"policies": entries, "secrets": {}}
    assert set((await today.get(f"/v1/vms/{vm}"))["policies"]["rules"]) == {"rule-0", "rule-1"}
    assert await denied(today, vm)
    changed = await today.call("PATCH", f"/v1/vms/{vm}", {"policies": {"policies": entries[:1]}})
    assert set(changed.json["policies"]["rules"]) == {"rule-0"}
    assert (await today.call("PUT", path, {"policies": [{"type": "inbound", "action": "allow"}]})).status == 422
    assert (await today.call("PUT", path, {})).json == {"policies": [], "secrets": {}}


async def test_a_change_ends_open_connections() -> None:
    echo = Echo()
    with serving(echo), ForkedEmulator(isolation=ISOLATION, generation="1", host_ports=[echo.port]) as emulator:
        async with aiohttp.ClientSession() as session:
            api = Api(session, emulator.url, emulator.api_key, "1")
            vm = (await api.fork(policies={"rules": {"all": rule("allow", 0)}}))["vm_id"]
            host = f"host.arker.internal:{echo.port}"
            command = (
                "exec 3<>/dev/tcp/127.0.0.1/31280; "
                f"printf 'CONNECT {host} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n' >&3; "
                'read -r status <&3; echo "$status"; cat <&3 > /dev/null; echo ended'
            )
            run = await api.background(vm, command)
            await api.printed(vm, run, "200")
            await api.call("PATCH", f"/v1/vms/{vm}", {"policies": {"rules": {"all": rule("deny", 0)}}})
            ended = await api.ended(vm, run)
            assert "ended" in ended["stdout"]
            refused = await api.ended(vm, await api.background(vm, command))
            assert " 403 " in refused["stdout"]
