"""Policies by rules, and what else only generation 1 has of a VM: what is sent, what is refused, what never shows."""

from __future__ import annotations

import gc
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from arker import (
    AsyncArker,
    BadRequestError,
    Gate,
    InvalidArgumentError,
    NetworkError,
    PolicyMatch,
    PolicyRule,
    PolicyToken,
    PolicyUpdate,
    RegistryAuth,
    RequestAction,
    Rewrite,
    ScaleAction,
    ScheduleRule,
    SshKeyInput,
)
from tests.generations.schemas.check import check
from tests.support.clients import make_client
from tests.support.secrets import PASSWORD, Detector
from tests.support.server import Drop, ScriptedServer, dropped, ok
from tests.support.today import VM_OF_TODAY, nested

pytestmark = pytest.mark.anyio

KEY = f"{PASSWORD}-of-a-policy"
TOKEN = f"{PASSWORD}-of-a-rule"


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncArker]:
    async with make_client(server, generation="1", strict_replies=True) as client:
        yield client


UPDATE = PolicyUpdate(
    rules={
        "api": PolicyRule(
            type="outbound",
            priority=100,
            match=PolicyMatch(
                hosts=["api.example"],
                ports=[443, (8000, 8080)],
                methods=["GET"],
                paths=["/v1"],
                headers={"Accept": ["*/*"]},
                query_params={"q": ["a", "b"]},
                body_contains=["x"],
            ),
            action=RequestAction(
                rewrite=Rewrite(
                    host="other.example",
                    path="/v2$path",
                    headers={"Authorization": "Bearer ${secret:KEY}"},
                    remove_headers=["Cookie"],
                    remove_query_params=["q"],
                    body="$body",
                ),
                gate=Gate(
                    host="https://gate.example",
                    allow_on_status=[200, 204],
                    path="/ask",
                    method="POST",
                    headers={"X": "1"},
                    body={"vm": "$vm_id"},
                    deny_on_timeout=False,
                    timeout_ms=500,
                ),
            ),
        ),
        "web": PolicyRule(
            type="inbound",
            priority=100,
            match=PolicyMatch(
                ports=[8080],
                ips=["10.0.0.0/8"],
                vm_state="idle",
                via=["port"],
                connection_state=["new"],
                ssh_keys=["a"],
            ),
            action=RequestAction(suspend=False, scaling=ScaleAction(suspend=True)),
            auth=PolicyToken(TOKEN),
            expires_at="2027-01-01T00:00:00Z",
        ),
        "rest": PolicyRule(type="outbound", priority=0, action="deny"),
        "end": ScheduleRule(action="delete", after_created=3600),
        "gone": None,
    },
    secrets={"KEY": KEY, "OLD": None},
)
WIRE: dict[str, Any] = {
    "rules": {
        "api": {
            "type": "outbound",
            "priority": 100,
            "match": {
                "hosts": ["api.example"],
                "ports": [443, [8000, 8080]],
                "methods": ["GET"],
                "paths": ["/v1"],
                "headers": {"Accept": ["*/*"]},
                "query_params": {"q": ["a", "b"]},
                "body_contains": ["x"],
            },
            "action": {
                "rewrite": {
                    "host": "other.example",
                    "path": "/v2$path",
                    "headers": {"Authorization": "Bearer ${secret:KEY}"},
                    "remove_headers": ["Cookie"],
                    "remove_query_params": ["q"],
                    "body": "$body",
                },
                "gate": {
                    "host": "https://gate.example",
                    "allow_on_status": [200, 204],
                    "path": "/ask",
                    "method": "POST",
                    "headers": {"X": "1"},
                    "body": {"vm": "$vm_id"},
                    "deny_on_timeout": False,
                    "timeout_ms": 500,
                },
            },
        },
        "web": {
            "type": "inbound",
            "priority": 100,
            "match": {
                "ports": [8080],
                "ips": ["10.0.0.0/8"],
                "vm_state": "idle",
                "via": ["port"],
                "connection_state": ["new"],
                "ssh_keys": ["a"],
            },
            "action": {"suspend": False, "scaling": {"suspend": True}},
            "auth": {"token": TOKEN},
            "expires_at": "2027-01-01T00:00:00Z",
        },
        "rest": {"type": "outbound", "priority": 0, "action": "deny"},
        "end": {"type": "schedule", "action": "delete", "after_created": 3600},
        "gone": None,
    },
    "secrets": {"KEY": KEY, "OLD": None},
}


async def test_every_member_of_a_policy_is_sent(server: ScriptedServer, client: AsyncArker) -> None:
    check("the policy of this test", "PolicyUpdate", WIRE)
    server.script(*[ok(VM_OF_TODAY)] * 4)
    vm = await client.fork("ubuntu", policies=UPDATE)
    assert server.last.json["policies"] == WIRE
    await vm.update(policies=UPDATE)
    assert server.last.json == {"policies": WIRE}
    # A mapping in the contract's own form is the same.
    await client.fork("ubuntu", policies=WIRE)
    assert server.last.json["policies"] == WIRE
    await vm.fork(policies={"secrets": {"KEY": None}})
    assert server.last.json["policies"] == {"secrets": {"KEY": None}}


async def test_the_rest_of_generation_1_is_sent(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(*[ok(VM_OF_TODAY)] * 3)
    auth = RegistryAuth(username="me", password=PASSWORD)
    vm = await client.fork(image="ghcr.io/me/x", registry_auth=auth, nestedvirt=True, pool_name="batch", vgpu=0.5)
    assert server.last.json == {
        "image": "ghcr.io/me/x",
        "registry_auth": {"username": "me", "password": PASSWORD},
        "nestedvirt": True,
        "pool_name": "batch",
        "resources": {"vgpu": 0.5},
    }
    check("the body of a fork", "ForkRequest", server.last.json)
    await client.fork("ubuntu", source_org_name="acme")
    # The name is looked up there, and nowhere else.
    assert server.last.json == {"source_vm_name": "ubuntu", "source_org_name": "acme"}
    keys = {"laptop": SshKeyInput(public_key="ssh-ed25519 AAAA", name="mine"), "old": None}
    await vm.update(ssh_public_keys=keys, vgpu=2, vcpu_count=4, pool_id="p")
    assert server.last.json == {
        "ssh_public_keys": {"laptop": {"public_key": "ssh-ed25519 AAAA", "name": "mine"}, "old": None},
        "resources": {"vcpu": 4, "vgpu": 2},
        "pool_id": "p",
    }


async def test_fleets_take_them(server: ScriptedServer, client: AsyncArker) -> None:
    server.answer(lambda request: ok({"deleted": True} if request.method == "DELETE" else VM_OF_TODAY))
    rules = {"rest": {"type": "outbound", "priority": 0, "action": "deny"}}
    keys = {"a": {"public_key": "k"}}
    async with client.fork_many("x", 1, policies={"rules": rules}, ssh_public_keys=keys, vgpu=1, pool_id="p"):
        assert server.last.json == {
            "source_vm_name": "x",
            "policies": {"rules": rules},
            "ssh_public_keys": keys,
            "resources": {"vgpu": 1},
            "pool_id": "p",
        }


OUT: dict[str, Any] = {"type": "outbound", "priority": 1, "action": "allow"}
IN: dict[str, Any] = {"type": "inbound", "priority": 1, "action": "allow"}


def _rule(rule: Any, name: str = "a") -> dict[str, Any]:
    return {"policies": {"rules": {name: rule}}}


def _matching(rule: dict[str, Any], **match: Any) -> dict[str, Any]:
    return _rule({**rule, "match": match})


_A = "policies['rules']['a']"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"policies": {}}, "policies['rules']"),
    ({"policies": {"rules": {}, "secrets": {}}}, "policies['rules']"),
    ({"policies": {"rule": {}}}, "policies"),
    ({"policies": [OUT]}, "policies"),
    ({"policies": {"rules": [OUT]}}, "policies['rules']"),
    (_rule(OUT, "A"), "policies['rules']['A']"),
    (_rule(OUT, "a" * 65), f"policies['rules']['{'a' * 65}']"),
    (_rule("deny"), _A),
    (_rule({**OUT, "type": "sideways"}), f"{_A}['type']"),
    (_rule({"type": "outbound", "action": "allow"}), _A),
    (_rule({**OUT, "more": 1}), _A),
    (_rule({**OUT, "priority": 1_000_001}), f"{_A}['priority']"),
    (_rule({**OUT, "priority": -1}), f"{_A}['priority']"),
    (_rule({**OUT, "action": "delete"}), f"{_A}['action']"),
    (_rule({**OUT, "action": {}}), f"{_A}['action']['rewrite']"),
    (_rule({**OUT, "action": None}), f"{_A}['action']"),
    (_rule({**OUT, "action": {"gate": {"host": "https://h"}}}), f"{_A}['action']['gate']"),
    (_rule({**OUT, "action": {"gate": {"host": "h", "allow_on_status": [200]}}}), f"{_A}['action']['gate']['host']"),
    (
        _rule({**OUT, "action": {"gate": {"host": "https://h", "allow_on_status": [70000]}}}),
        f"{_A}['action']['gate']['allow_on_status']",
    ),
    (_rule({**OUT, "action": {"rewrite": {"body": 1}}}), f"{_A}['action']['rewrite']['body']"),
    (_rule({**OUT, "auth": "open"}), f"{_A}['auth']"),
    (_rule({**OUT, "expires_at": "2027-01-01T00:00:00Z"}), f"{_A}['expires_at']"),
    (_rule({**IN, "auth": "closed"}), f"{_A}['auth']"),
    (_matching(OUT, ports=[]), f"{_A}['match']['ports']"),
    (_matching(OUT, ports=[65536]), f"{_A}['match']['ports'][0]"),
    (_matching(OUT, ports=[(9, 8)]), f"{_A}['match']['ports'][0]"),
    (_matching(OUT, hosts="h"), f"{_A}['match']['hosts']"),
    (_matching(OUT, hosts=["h"], ips=["10.0.0.1"]), f"{_A}['match']['hosts']"),
    (_matching(OUT, via=["port"]), f"{_A}['match']['via']"),
    (_matching(OUT, headers={"a": "b"}), f"{_A}['match']['headers']['a']"),
    (_matching(IN, hosts=["h"]), f"{_A}['match']['hosts']"),
    (_matching(IN, ports=[(1, 2)]), f"{_A}['match']['ports']"),
    (_matching(IN, via=["door"]), f"{_A}['match']['via'][0]"),
    (_matching(IN, vm_state="off"), f"{_A}['match']['vm_state']"),
    (_rule({"type": "schedule", "action": "delete"}), f"{_A}['at']"),
    (_rule({"type": "schedule", "action": "allow", "after_created": 1}), f"{_A}['action']"),
    (_rule({"type": "schedule", "action": "delete", "after_created": 2_592_001}), f"{_A}['after_created']"),
    (_rule({"type": "schedule", "action": "delete", "after_created": 1, "at": "t"}), f"{_A}['at']"),
    ({"policies": {"rules": {"a": OUT, "b": OUT}}}, "policies['rules']['b']['priority']"),
    ({"policies": {"secrets": {"K": "***"}}}, "policies['secrets']['K']"),
    ({"policies": {"secrets": {"K": ""}}}, "policies['secrets']['K']"),
    ({"policies": {"secrets": KEY}}, "policies['secrets']"),
    ({"policies": _rule(OUT)["policies"], "network": False}, "policies"),
    ({"registry_auth": {"username": "u", "password": KEY}}, "registry_auth"),
    ({"nestedvirt": True}, "nestedvirt"),
    ({"vgpu": 3}, "vgpu"),
    ({"vgpu": True}, "vgpu"),
    ({"pool_id": "p", "pool_name": "n"}, "pool_name"),
    ({"source_org_name": "n", "source_org_id": "i"}, "source_org_name"),
    ({"ssh_public_keys": {"A": {"public_key": "k"}}}, "ssh_public_keys['A']"),
    ({"ssh_public_keys": {"a": {}}}, "ssh_public_keys['a']"),
    ({"ssh_public_keys": ["k"]}, "ssh_public_keys"),
    ({"ssh_public_keys": {"a": {"public_key": "k", "name": "n" * 256}}}, "ssh_public_keys['a']['name']"),
]


@pytest.mark.parametrize(("arguments", "argument"), REFUSED)
async def test_what_is_refused_before_anything_is_sent(
    server: ScriptedServer, client: AsyncArker, arguments: dict[str, Any], argument: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.fork("ubuntu", **arguments)
    assert caught.value.argument == argument
    assert not server.requests


@pytest.mark.parametrize(
    "auth",
    [{"username": "u"}, {"username": "", "password": KEY}, {"user": "u", "password": KEY}, ("u", KEY), KEY],
    ids=range(5),
)
async def test_bad_credentials_do_not_show(server: ScriptedServer, client: AsyncArker, auth: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.fork(image="i", registry_auth=auth)
    assert KEY not in repr(caught.value)
    assert not server.requests


# --- secrets ---------------------------------------------------------------------------------------------------------


async def test_a_server_that_repeats_secrets_spreads_none(
    server: ScriptedServer, client: AsyncArker, watch: Detector
) -> None:
    """The watch looks at all logs, errors and calls of this test."""
    of_policies = f"secret {KEY}, token {json.dumps(TOKEN)}"
    said = f"no image for me:{PASSWORD}; {of_policies}"
    details = {"violations": [{"field": "image", "message": said}]}
    server.script(
        nested("bad_request", said, status=400, details=details), nested("bad_request", of_policies, status=400)
    )
    auth = RegistryAuth(username="me", password=PASSWORD)
    with pytest.raises(BadRequestError) as caught:
        await client.fork(image="i", registry_auth=auth, policies=UPDATE)
    assert caught.value.message.startswith("no image for me:[redacted]")
    assert PASSWORD not in json.dumps(caught.value.details)
    with pytest.raises(BadRequestError) as caught:
        await client.vm("v").update(policies=UPDATE)
    assert caught.value.message == 'secret [redacted], token "[redacted]"'
    del caught
    gc.collect()
    watch.verify()


async def test_nothing_that_is_secret_is_written_down(server: ScriptedServer, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    async with make_client(server, generation="1", ledger=ledger, retry=False) as client:
        server.script(*[dropped(Drop.AFTER_PROCESSING)] * 2)
        for policies in (UPDATE, {"rules": {"a": OUT}}):
            with pytest.raises(NetworkError):
                await client.fork("ubuntu", policies=policies)
    with closing(sqlite3.connect(ledger)) as connection:
        bodies = [body for (body,) in connection.execute("SELECT body FROM forks ORDER BY created_at")]
    plain = {"source_vm_name": "ubuntu", "source_org_id": "ArkerHQ", "policies": {"rules": {"a": OUT}}}
    assert bodies[0] == ""
    assert json.loads(bodies[1]) == plain
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert PASSWORD.encode() not in b"".join(written)


async def test_a_fork_whose_secrets_are_not_on_record_is_not_repeated(server: ScriptedServer, tmp_path: Path) -> None:
    """What stays of a killed program's fork: the row, whose body was not written down."""
    ledger = tmp_path / "ledger.sqlite3"
    async with make_client(server, generation="1", ledger=ledger, retry=False) as client:
        server.script(dropped(Drop.AFTER_PROCESSING))
        with pytest.raises(NetworkError):
            await client.fork("ubuntu", policies=UPDATE)
        with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
            connection.execute("UPDATE forks SET owner = 'dead', created_at = created_at - 9")
        server.requests.clear()
        (left,) = (await client.reap()).failed
    assert left.error is not None
    assert left.error.code == "unknown_vm"
    assert "secret" in left.error.message
    assert not server.requests
