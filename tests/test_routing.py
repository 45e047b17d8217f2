"""Which base URL a call goes to, and which names and ids are special (contract, section 2)."""

from __future__ import annotations

from typing import Any

import pytest

from arker import ARKER_ORG_ID, GOLDEN_NAMES, AsyncArker, ForkRequest
from arker._basics.names import is_burst_reference
from tests.support.clients import BURST, BURST_ID, COMPUTE, CONTROL, make_client
from tests.support.samples import completed
from tests.support.server import ScriptedServer, ok

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("arkuntu", True),
        ("ARKUNTU", True),
        (" Arkuntu\n", True),
        (BURST_ID, True),
        (f"  {BURST_ID} ", True),
        ("0" * 26 + "_x", True),
        ("Z" * 26 + "_A9z", True),
        ("arkuntu2", False),
        ("ubuntu", False),
        ("", False),
        ("0" * 26, False),
        ("0" * 26 + "_", False),
        ("0" * 25 + "_x", False),
        ("0" * 27 + "_x", False),
        ("0" * 26 + "_x-y", False),
        ("0" * 26 + "_x_y", False),
        ("0" * 26 + "_é", False),
        ("0" * 25 + "I_x", False),
        ("0" * 25 + "L_x", False),
        ("0" * 25 + "O_x", False),
        ("0" * 25 + "U_x", False),
        (BURST_ID.lower(), False),
        (f"{BURST_ID}\nx", False),
    ],
)
def test_burst_references(reference: str, expected: bool) -> None:
    assert is_burst_reference(reference) is expected


def test_goldens() -> None:
    assert ARKER_ORG_ID == "ArkerHQ"
    assert set(GOLDEN_NAMES) == {
        "arkuntu",
        "ubuntu",
        "ubuntu-small",
        "ubuntu-nodisk",
        "ubuntu-nonet-nodisk",
        "ubuntu-full",
        "ubuntu-full-32",
        "ubuntu-py-repl",
        "ubuntu-js-repl",
        "ubuntu-docker",
        "ubuntu-chromium",
        "ubuntu-servo",
        "ubuntu-servo-js-repl",
        "ubuntu-chromium-js-repl",
    }
    assert len(GOLDEN_NAMES) == 14


@pytest.mark.parametrize("golden", GOLDEN_NAMES)
async def test_forking_a_golden_fills_in_its_organisation(
    server: ScriptedServer, client: AsyncArker, golden: str
) -> None:
    server.script(ok({"vm_id": "child"}))
    child = await client.fork(golden)
    where = BURST if golden == "arkuntu" else COMPUTE
    assert server.last.target == f"{where}/v1/fork"
    assert server.last.json == {"source_vm_name": golden, "source_org_id": "ArkerHQ"}
    assert child.base_url == server.url + where


@pytest.mark.parametrize(
    ("arguments", "where", "body"),
    [
        ({"source": "mine"}, COMPUTE, {"source_vm_name": "mine"}),
        ({"source": "Ubuntu"}, COMPUTE, {"source_vm_name": "Ubuntu"}),
        ({"source_vm_name": "ubuntu"}, COMPUTE, {"source_vm_name": "ubuntu", "source_org_id": "ArkerHQ"}),
        ({"source_vm_name": "arkuntu"}, BURST, {"source_vm_name": "arkuntu", "source_org_id": "ArkerHQ"}),
        (
            {"source": "ubuntu", "source_org_id": "acme"},
            COMPUTE,
            {"source_vm_name": "ubuntu", "source_org_id": "acme"},
        ),
        # a VM of the caller's organisation that happens to have the golden's name
        (
            {"source": "arkuntu", "source_org_id": "acme"},
            COMPUTE,
            {"source_vm_name": "arkuntu", "source_org_id": "acme"},
        ),
        (
            {"source": "arkuntu", "source_org_id": "ArkerHQ"},
            BURST,
            {"source_vm_name": "arkuntu", "source_org_id": "ArkerHQ"},
        ),
        ({"source": BURST_ID}, COMPUTE, {"source_vm_name": BURST_ID}),
        ({"source_vm_id": BURST_ID}, BURST, {"source_vm_id": BURST_ID}),
        ({"source_vm_id": "vm-1"}, COMPUTE, {"source_vm_id": "vm-1"}),
        ({"source_vm_id": "vm-1", "source_org_id": "acme"}, COMPUTE, {"source_vm_id": "vm-1", "source_org_id": "acme"}),
        # by id, a name is left to the server, with no organisation filled in
        ({"source_vm_id": "ubuntu"}, COMPUTE, {"source_vm_id": "ubuntu"}),
        ({"source_vm_id": "arkuntu"}, BURST, {"source_vm_id": "arkuntu"}),
    ],
)
async def test_fork_routing(
    server: ScriptedServer, client: AsyncArker, arguments: dict[str, Any], where: str, body: dict[str, str]
) -> None:
    server.script(ok({"vm_id": "child"}))
    child = await client.fork(**arguments)
    assert server.last.target == f"{where}/v1/fork"
    assert server.last.json == body
    assert child.base_url == server.url + where


async def test_without_a_burst_base_url_everything_is_compute(server: ScriptedServer) -> None:
    async with make_client(server, burst_base_url=None) as client:
        assert client.burst_base_url is None
        server.script(ok({"vm_id": "child"}), ok({"vm_id": "child"}))
        assert (await client.fork("arkuntu")).base_url == server.url + COMPUTE
        assert (await client.fork(source_vm_id=BURST_ID)).base_url == server.url + COMPUTE
        assert client.vm(BURST_ID).base_url == server.url + COMPUTE


@pytest.mark.parametrize(
    ("vm_id", "where"), [("vm-1", COMPUTE), ("ubuntu", COMPUTE), ("arkuntu", BURST), (BURST_ID, BURST)]
)
async def test_a_handle_keeps_its_base_url(server: ScriptedServer, client: AsyncArker, vm_id: str, where: str) -> None:
    handle = client.vm(vm_id)
    assert handle.base_url == server.url + where
    server.script(ok({"vm_id": vm_id}), ok(completed()), ok({"vm_id": "other-id"}))
    await handle.refresh()
    await handle.run("true")
    read = await client.get_vm(vm_id)
    assert [request.target for request in server.requests] == [
        f"{where}/v1/vms/{vm_id}",
        f"{where}/v1/vms/{vm_id}/runs",
        f"{where}/v1/vms/{vm_id}",
    ]
    assert (read.id, read.base_url) == ("other-id", server.url + where)


async def test_a_child_keeps_the_base_url_of_its_fork(server: ScriptedServer, client: AsyncArker) -> None:
    """Whatever the child's id looks like."""
    server.script(ok({"vm_id": BURST_ID}), ok({"deleted": True}), ok({"vm_id": "plain"}), ok({"deleted": True}))
    await (await client.fork("ubuntu")).delete()
    assert server.last.target == f"{COMPUTE}/v1/vms/{BURST_ID}"
    await (await client.fork("arkuntu")).delete()
    assert server.last.target == f"{BURST}/v1/vms/plain"


async def test_forking_from_a_handle(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(*(ok({"vm_id": "child"}) for _ in range(5)))
    await client.vm("ubuntu").fork()
    assert (server.last.target, server.last.json) == (f"{COMPUTE}/v1/fork", {"source_vm_id": "ubuntu"})
    await client.fork(client.vm("vm-1"))
    assert (server.last.target, server.last.json) == (f"{COMPUTE}/v1/fork", {"source_vm_id": "vm-1"})
    await client.fork(client.vm(BURST_ID))
    assert (server.last.target, server.last.json) == (f"{BURST}/v1/fork", {"source_vm_id": BURST_ID})
    grandchild = await (await client.vm("arkuntu").fork()).fork()
    assert server.requests[-2].target == f"{BURST}/v1/fork"
    # The fork follows its source's id, as it does from anywhere else.
    assert server.last.target == f"{COMPUTE}/v1/fork"
    assert grandchild.base_url == server.url + COMPUTE


async def test_lists_of_the_organisation_go_to_the_control_plane(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok({"vms": []}))
    await client.list_vms()
    assert server.last.target == f"{CONTROL}/v1/vms"


def test_fork_base_url_is_pure() -> None:
    settings = AsyncArker("k", base_url="https://c", burst_base_url="https://b")._settings  # pyright: ignore[reportPrivateUsage]
    assert settings.fork_base_url(ForkRequest(source_vm_id=BURST_ID)) == "https://b"
    assert settings.fork_base_url(ForkRequest(source_vm_name="arkuntu", source_org_id="ArkerHQ")) == "https://b"
    assert settings.fork_base_url(ForkRequest(source_vm_name="arkuntu")) == "https://c"
