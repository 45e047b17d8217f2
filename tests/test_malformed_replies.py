"""Whatever a server sends, what comes out is a result or an `ArkerError`."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from arker import ApiError, ArkerError, AsyncArker, ForkRequest, HttpTimeouts, RunRequest
from arker._protocol.address import Address
from arker._protocol.calls import api_keys as api_key_calls
from arker._protocol.calls import files as file_calls
from arker._protocol.calls import filesystems as filesystem_calls
from arker._protocol.calls import pools as pool_calls
from arker._protocol.calls import runs as run_calls
from arker._protocol.calls import service as service_calls
from arker._protocol.calls import sessions as session_calls
from arker._protocol.calls import terminals as terminal_calls
from arker._protocol.calls import tunnels as tunnel_calls
from arker._protocol.calls import vms as vm_calls
from arker._protocol.codec.codec import Misfit, structure
from arker._protocol.reader import Reader
from arker._protocol.reply import decipher
from arker._protocol.request import Call, Response
from arker.models import (
    BackgroundRunResult,
    CancelRunResponse,
    CompletedRunResult,
    CreateApiKeyRequest,
    CreatedApiKey,
    CreatePoolRequest,
    DeleteMountResponse,
    DeleteSyncResponse,
    DeleteVmResponse,
    Filesystem,
    ListApiKeysResponse,
    ListFilesystemsResponse,
    ListMountsResponse,
    ListOrgRunsResponse,
    ListPoolsResponse,
    ListPoolWorkersResponse,
    ListRegionsResponse,
    ListRunsResponse,
    ListSessionsResponse,
    ListSyncsResponse,
    ListTunnelsResponse,
    ListVmsResponse,
    Mount,
    MountCreateRequest,
    PatchVmRequest,
    Pool,
    PtyTicketResponse,
    ResizeRequest,
    ResizeResponse,
    RevokeApiKeyResponse,
    Run,
    Session,
    Sync,
    SyncChunkWrite,
    SyncChunkWriteResult,
    SyncCommitWriteResult,
    SyncCreateRequest,
    SyncManifestResponse,
    SyncPresignedWriteCommit,
    SyncReadInlineResponse,
    SyncReadPresignedResponse,
    Tunnel,
    UpdatePoolRequest,
    Vm,
    WhoamiResponse,
)
from tests.support.clients import make_client
from tests.support.damage import JSON, STATUSES, SUCCESSES, damaged_text, mutated, without_secrets
from tests.support.length import times
from tests.support.samples import FULL
from tests.support.server import Drop, Reply, ScriptedServer

BASE = "http://h"
AT = Address(BASE, "v")
ENTRY = SyncChunkWrite(path="f", size=0, upload_id="u", content=b"", start=0, end=0)


def sample(cls: type[Any], *, entry: bool = False) -> Any:
    payload = without_secrets(FULL[cls])
    return {"results": [payload]} if entry else payload


CALLS: dict[str, tuple[Call[Any], Any]] = {
    "fork": (vm_calls.fork(BASE, ForkRequest(source_vm_name="x"), "k", lambda _: None), sample(Vm)),
    "get_vm": (vm_calls.get_vm(AT), sample(Vm)),
    "list_vms": (vm_calls.list_vms(BASE, vm_calls.VmsQuery()), sample(ListVmsResponse)),
    "delete_vm": (vm_calls.delete_vm(AT), sample(DeleteVmResponse)),
    "run": (run_calls.run(AT, RunRequest(command="x"), "k"), sample(CompletedRunResult)),
    "background": (
        run_calls.run(AT, RunRequest(command="x", background=True), "k"),
        sample(BackgroundRunResult),
    ),
    "get_run": (run_calls.get_run(AT, "r"), sample(Run)),
    "list_runs": (run_calls.list_runs(AT, run_calls.RunsQuery()), sample(ListRunsResponse)),
    "cancel_run": (run_calls.cancel_run(AT, "r"), sample(CancelRunResponse)),
    "list_files": (file_calls.list_files(AT, "d"), sample(SyncManifestResponse)),
    "read": (file_calls.read_file(AT, "f"), sample(SyncReadInlineResponse)),
    "read_presigned": (file_calls.read_file(AT, "f"), sample(SyncReadPresignedResponse)),
    "write_whole": (file_calls.write_whole(AT, ENTRY), sample(SyncChunkWriteResult, entry=True)),
    "commit_put": (
        file_calls.commit_put(AT, SyncPresignedWriteCommit(path="f", size=0, upload_id="u")),
        sample(SyncCommitWriteResult, entry=True),
    ),
}
for _make, _result in (
    (partial(session_calls.list_sessions, AT, session_calls.SessionsQuery()), ListSessionsResponse),
    (partial(session_calls.get_session, AT, "s"), Session),
    (partial(tunnel_calls.list_tunnels, AT, tunnel_calls.TunnelsQuery()), ListTunnelsResponse),
    (partial(tunnel_calls.get_tunnel, AT, "t"), Tunnel),
    (partial(filesystem_calls.list_syncs, AT, filesystem_calls.MountsQuery()), ListSyncsResponse),
    (partial(filesystem_calls.create_sync, AT, SyncCreateRequest(filesystem_id="f")), Sync),
    (partial(filesystem_calls.delete_sync, AT, "s"), DeleteSyncResponse),
    (partial(filesystem_calls.list_mounts, AT, filesystem_calls.MountsQuery()), ListMountsResponse),
    (partial(filesystem_calls.create_mount, AT, MountCreateRequest(filesystem_id="f")), Mount),
    (partial(filesystem_calls.delete_mount, AT, "s"), DeleteMountResponse),
    (partial(vm_calls.update, AT, PatchVmRequest(immutable=True)), Vm),
    (partial(service_calls.list_regions, BASE), ListRegionsResponse),
    (partial(service_calls.whoami, BASE), WhoamiResponse),
    (partial(terminal_calls.create_ticket, AT, "s"), PtyTicketResponse),
    (partial(pool_calls.list_pools, BASE, pool_calls.PoolsQuery()), ListPoolsResponse),
    (partial(pool_calls.create_pool, BASE, CreatePoolRequest(type="self_hosted")), Pool),
    (partial(pool_calls.get_pool, BASE, "p"), Pool),
    (partial(pool_calls.update_pool, BASE, "p", UpdatePoolRequest(name="n")), Pool),
    (partial(pool_calls.delete_pool, BASE, "p"), Pool),
    (partial(pool_calls.list_pool_workers, BASE, "p"), ListPoolWorkersResponse),
    (partial(api_key_calls.list_api_keys, BASE), ListApiKeysResponse),
    (partial(api_key_calls.create_api_key, BASE, CreateApiKeyRequest()), CreatedApiKey),
    (partial(api_key_calls.revoke_api_key, BASE, "k"), RevokeApiKeyResponse),
    (partial(vm_calls.resize, AT, ResizeRequest(disk_mib=1)), ResizeResponse),
    (partial(filesystem_calls.list_filesystems, BASE, filesystem_calls.FilesystemsQuery()), ListFilesystemsResponse),
    (partial(filesystem_calls.get_filesystem, BASE, "f"), Filesystem),
    (partial(run_calls.list_org_runs, BASE, run_calls.OrgRunsQuery()), ListOrgRunsResponse),
):
    CALLS[_make.func.__name__] = (_make(), sample(_result))
every_call = pytest.mark.parametrize("name", CALLS)


def test_a_call_about_a_vm_names_it() -> None:
    about = {name: call for name, (call, _) in CALLS.items() if "/vms/v" in call.request.path}
    assert len(about) > 20
    assert {name: call.vm_id for name, call in about.items()} == dict.fromkeys(about, "v")


def test_every_call_is_here() -> None:
    """Each function that gives a call is here, or one whose reply is of the same kind."""
    modules = (vm_calls, run_calls, file_calls, session_calls, tunnel_calls, filesystem_calls)
    functions = [pair for module in modules for pair in inspect.getmembers(module, inspect.isfunction)]
    made = {
        name
        for name, function in functions
        if not name.startswith("_")
        and function.__module__ != "arker._protocol.calls.shared"
        and str(function.__annotations__.get("return", "")).startswith("Call[")
    }
    same = {
        "request_puts",
        "write_chunk",
        "write_each",
        "read_file",
        "create_session",
        "create_tunnel",
        "create_filesystem",
        "fork_again",
    }
    same |= {"delete_session", "delete_tunnel", "delete_filesystem"}
    assert made <= {*CALLS, *same}, "an operation has come that is not tried here"
    assert len(made) >= 28


def check_error(error: ArkerError) -> None:
    """Check that the error can be shown and sent to another process."""
    assert str(error)
    assert repr(error)
    assert type(pickle.loads(pickle.dumps(error))) is type(error)


def outcome(call: Call[Any], status: int, body: bytes) -> object:
    """Return the strict result or error, after the lenient one. Anything else fails the test."""
    outcome_of(call, status, body, Reader())
    return outcome_of(call, status, body, Reader(strict=True))


def outcome_of(call: Call[Any], status: int, body: bytes, reader: Reader) -> object:
    try:
        result = decipher(call, Response(status, {}, body), reader, str)
    except ApiError as error:
        check_error(error)
        return error
    assert hasattr(result, "__attrs_attrs__")
    assert repr(result)
    return result


@every_call
def test_the_samples_are_valid(name: str) -> None:
    call, payload = CALLS[name]
    assert not isinstance(outcome(call, 200, orjson.dumps(payload)), Exception)


@every_call
@settings(max_examples=times(50, suite=12), deadline=None)
@given(data=st.data())
def test_mutated_replies(name: str, data: st.DataObject) -> None:
    call, payload = CALLS[name]
    body = orjson.dumps(data.draw(mutated(payload)))
    outcome(call, data.draw(SUCCESSES), body)


@every_call
@settings(max_examples=times(25, suite=8), deadline=None)
@given(payload=JSON, status=STATUSES)
def test_arbitrary_json(name: str, payload: object, status: int) -> None:
    outcome(CALLS[name][0], status, orjson.dumps(payload))


@every_call
@settings(max_examples=times(25, suite=8), deadline=None)
@given(data=st.data(), status=STATUSES)
def test_damaged_texts(name: str, data: st.DataObject, status: int) -> None:
    call, payload = CALLS[name]
    outcome(call, status, data.draw(damaged_text(orjson.dumps(payload))))


@settings(max_examples=times(200, suite=60), deadline=None)
@given(body=st.binary(max_size=40), status=STATUSES)
@example(body=b"[" * 100_000, status=200)
@example(body=b'{"a":' * 5_000 + b"1" + b"}" * 5_000, status=200)
@example(body=b'{"vm_id": "\\ud800"}', status=200)
@example(body=b'{"vm_id": NaN}', status=200)
@example(body=b'\xef\xbb\xbf{"vm_id": "v"}', status=200)
@example(body=b'{"vm_id": "v"} {}', status=200)
@example(body=b"\x00" * 1000, status=500)
@example(body=b"\xff" * 1000, status=404)
def test_arbitrary_bytes(body: bytes, status: int) -> None:
    outcome(CALLS["get_vm"][0], status, body)


@settings(max_examples=times(80, suite=30), deadline=None)
@given(error=JSON, code=JSON, message=JSON, status=STATUSES)
def test_odd_errors(error: object, code: object, message: object, status: int) -> None:
    for payload in (
        {"error": error},
        {"code": code, "message": message},
        {"error": {"code": code, "message": message}},
    ):
        result = outcome(CALLS["get_vm"][0], status, orjson.dumps(payload))
        assert isinstance(result, ApiError)
        if isinstance(code, str) and isinstance(message, str) and "error" not in payload:
            assert (result.code, result.message) == (code, message)


def check_misfit(misfit: Misfit, payload: Any) -> None:
    assert misfit.problem
    assert re.fullmatch(r"\$(\.\w+|\[\d+\]|\['.*'\])*", misfit.path, re.DOTALL), misfit.path
    # A key that is no identifier stands in brackets and quotes; only the last step can be one.
    plain = misfit.path.partition("['")[0]
    steps: list[tuple[str, str]] = re.findall(r"\.(\w+)|\[(\d+)\]", plain)
    for name, index in steps[:-1]:
        payload = payload[name] if name else payload[int(index)]


@settings(max_examples=times(100, suite=30), deadline=None)
@given(data=st.data())
def test_a_misfit_says_where(data: st.DataObject) -> None:
    """The place that an error names can be gone to, except for its last step, which may be missing."""
    cls = data.draw(st.sampled_from(list(FULL)))
    payload = data.draw(mutated(without_secrets(FULL[cls])))
    try:
        structure(payload, cls)
    except Misfit as misfit:
        check_misfit(misfit, payload)


# --- over a real connection ------------------------------------------------------------------------------------------

Use = Callable[[AsyncArker], Coroutine[Any, Any, object]]

USES: dict[str, tuple[Use, Any]] = {
    "fork": (lambda ar: ar.fork("ubuntu"), sample(Vm)),
    "get_vm": (lambda ar: ar.get_vm("v"), sample(Vm)),
    "refresh": (lambda ar: ar.vm("v").refresh(), sample(Vm)),
    "list_vms": (lambda ar: ar.list_vms(), sample(ListVmsResponse)),
    "delete": (lambda ar: ar.vm("v").delete(), sample(DeleteVmResponse)),
    "run": (lambda ar: ar.vm("v").run("x", check=True), sample(CompletedRunResult)),
    "background": (lambda ar: ar.vm("v").run("x", background=True), sample(BackgroundRunResult)),
    "get_run": (lambda ar: ar.vm("v").get_run("r"), sample(Run)),
    "list_runs": (lambda ar: ar.vm("v").list_runs(), sample(ListRunsResponse)),
    "cancel_run": (lambda ar: ar.vm("v").cancel_run("r"), sample(CancelRunResponse)),
    "read": (lambda ar: ar.vm("v").sync("f"), sample(SyncReadInlineResponse)),
    "write": (lambda ar: ar.vm("v").sync("f", b"x"), sample(SyncChunkWriteResult, entry=True)),
    "create_tunnel": (lambda ar: ar.vm("v").create_tunnel(ports=[1]), sample(Tunnel)),
    "list_syncs": (lambda ar: ar.vm("v").list_syncs(), sample(ListSyncsResponse)),
    "list_runs of all": (lambda ar: ar.list_runs(), sample(ListOrgRunsResponse)),
}
every_use = pytest.mark.parametrize("name", USES)
few = settings(
    max_examples=times(12, suite=4),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def used(server: ScriptedServer, use: Use, reply: Reply) -> None:
    """One operation with one answer to everything; nothing but a result or an `ArkerError` may come out."""
    server.answer(reply)

    async def main() -> None:
        async with make_client(server, retry=False, timeout=HttpTimeouts(idle=5)) as client:
            try:
                await use(client)
            except ArkerError as error:
                check_error(error)

    asyncio.run(main())


@every_use
@few
@given(data=st.data())
def test_damaged_replies_of_a_server(server: ScriptedServer, name: str, data: st.DataObject) -> None:
    use, payload = USES[name]
    body = data.draw(
        st.one_of(
            mutated(payload).map(orjson.dumps),
            JSON.map(orjson.dumps),
            damaged_text(orjson.dumps(payload)),
            st.binary(max_size=50),
        )
    )
    drop = data.draw(st.sampled_from([None, None, None, *Drop]))
    headers = data.draw(
        st.dictionaries(
            st.sampled_from(
                ["Content-Type", "Content-Encoding", "Retry-After", "X-Request-Id", "Location", "Set-Cookie"]
            ),
            st.sampled_from(["gzip", "br", "text/html; charset=klingon", "-1", "99999999999999999999", "é", "a=b", ""]),
            max_size=2,
        )
    )
    used(server, use, Reply(status=data.draw(STATUSES), body=body, drop=drop, headers=headers))


@every_use
@few
@given(data=st.data())
def test_damaged_http(server: ScriptedServer, name: str, data: st.DataObject) -> None:
    use, payload = USES[name]
    body = orjson.dumps(payload)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    used(server, use, Reply(raw=data.draw(damaged_text(head)) + body))


@few
@given(data=st.data())
def test_damaged_objects(server: ScriptedServer, data: st.DataObject) -> None:
    """A read whose presigned URL leads to something odd."""
    size = data.draw(st.integers(-1, 6))
    target = {"path": "f", "size": size, "presigned_url": f"{server.url}/o", "expires_in": 1}
    reply = Reply(status=data.draw(STATUSES), body=data.draw(st.binary(max_size=6)))
    server.script(Reply(body=orjson.dumps(target)))
    used(server, lambda ar: ar.vm("v").sync("f"), reply)
