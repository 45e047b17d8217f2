"""Every model that a server sends: from a full, a minimal and a damaged payload."""

from __future__ import annotations

from typing import Any, cast, get_args

import attrs
import pytest

from arker import models
from arker._protocol.codec import codec
from arker._protocol.codec.codec import Misfit, structure
from arker.models import (
    BackgroundRunResult,
    CompletedRunResult,
    ListRunsResponse,
    ListVmsResponse,
    NetworkPolicyAllow,
    NetworkPolicyBlock,
    NetworkPolicyBlocked,
    NetworkPolicyOpen,
    NetworkPolicyUnknown,
    Run,
    RunSummary,
    Session,
    SyncChunkWriteResult,
    SyncPresignedWriteRequestResult,
    SyncReadInlineResponse,
    SyncReadPresignedResponse,
    Tunnel,
    Vm,
)
from arker.models._reply import DECLARED, NULLABLE
from tests.support.samples import FULL, MINIMAL, full, minimal

RECEIVED = list(FULL)
NAMES = [cls.__name__ for cls in RECEIVED]
_OF_CONTENT = {"stdout", "stderr", "content"}


def refused(payload: object, cls: type[Any]) -> Misfit:
    with pytest.raises(Misfit) as caught:
        structure(payload, cls)
    return caught.value


def field_names(cls: type[Any]) -> list[str]:
    return [field.name for field in attrs.fields(cls) if field.init and field.name != "misfits"]


def required(cls: type[Any]) -> list[str]:
    return [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING or field.metadata.get(DECLARED)]


def test_the_samples_cover_every_model_that_is_received() -> None:
    sent = {
        "ForkRequest",
        "PatchVmRequest",
        "MountCreateRequest",
        "RunRequest",
        "TunnelRequest",
        "NetworkRequest",
        "InboundRequest",
        "InboundPortRequest",
        "SyncReadRequest",
        "SyncManifestRequest",
        "SyncWriteRequest",
        "SyncChunkWrite",
        "SyncPresignedWriteRequest",
        "SyncPresignedWriteCommit",
        "CreateSessionRequest",
        "FilesystemCreateRequest",
        "ResizeRequest",
        "SyncCreateRequest",
        "SshKeyInput",
        "RegistryAuth",
        "CreatePoolByoc",
        "CreatePoolRequest",
        "UpdatePoolRequest",
        "CreateApiKeyRequest",
    }
    # The rules of policies are sent, and come back as they are.
    sent |= {"PolicyUpdate", "PolicyRule", "PolicyMatch", "PolicyToken", "RequestAction", "Rewrite", "Gate"}
    sent |= {"ScaleAction", "ScheduleRule"}
    policies = {name for name in models.__all__ if name.startswith("NetworkPolicy")}
    # To Python 3.10 list[str] is a type, too.
    public = {name: getattr(models, name) for name in models.__all__}
    classes = {name for name, value in public.items() if isinstance(value, type) and not get_args(value)}
    # The reply to a write is read entry by entry, never as a whole.
    assert classes - sent - policies - {"SyncWriteResponse"} == set(NAMES)


@pytest.mark.parametrize("cls", RECEIVED, ids=NAMES)
def test_full(cls: type[Any]) -> None:
    payload = full(cls)
    value = structure(payload, cls)
    for name in field_names(cls):
        if name == "error":
            continue
        assert name in payload, f"the sample lacks {name}"
        given, got = payload[name], getattr(value, name)
        if name in _OF_CONTENT:
            assert isinstance(got, bytes)
        elif isinstance(given, list):
            assert isinstance(got, tuple)
            assert len(cast("list[Any]", got)) == len(given)
        elif name == "network":
            assert got == NetworkPolicyAllow(("example.com", "10.0.0.0/8"))
        elif name in ("inbound", "ports") or attrs.has(type(got)):
            assert codec.unstructure(got) == given
        else:
            assert got == given


@pytest.mark.parametrize("cls", RECEIVED, ids=NAMES)
def test_minimal(cls: type[Any]) -> None:
    value = structure(minimal(cls), cls)
    for field in attrs.fields(cls):
        if field.init and field.name not in MINIMAL[cls]:
            default = field.default.factory() if hasattr(field.default, "factory") else field.default
            assert getattr(value, field.name) == default
    assert set(required(cls)) <= set(MINIMAL[cls]), "the minimal sample has all that is indispensable, and only that"


@pytest.mark.parametrize("cls", RECEIVED, ids=NAMES)
def test_unknown_fields_are_ignored(cls: type[Any]) -> None:
    assert structure({**full(cls), "from_the_future": {"a": [1]}, "ok": True}, cls) == structure(full(cls), cls)


@pytest.mark.parametrize(("cls", "name"), [(cls, name) for cls in RECEIVED for name in MINIMAL[cls]])
def test_a_missing_indispensable_field(cls: type[Any], name: str) -> None:
    payload = minimal(cls)
    del payload[name]
    misfit = refused(payload, cls)
    assert (misfit.path, misfit.problem) == (f"$.{name}", "is missing")


@pytest.mark.parametrize(("cls", "name"), [(cls, name) for cls in RECEIVED for name in MINIMAL[cls]])
def test_null_is_no_value_of_an_indispensable_field(cls: type[Any], name: str) -> None:
    if isinstance(MINIMAL[cls][name], list):  # a null list is an empty one
        assert structure({**minimal(cls), name: None}, cls) == structure({**minimal(cls), name: []}, cls)
        return
    if getattr(attrs.fields(cls), name).metadata.get(NULLABLE):  # such as the exit code of a cancelled run
        assert getattr(structure({**minimal(cls), name: None}, cls), name) is None
        return
    misfit = refused({**minimal(cls), name: None}, cls)
    assert misfit.path == f"$.{name}"
    assert misfit.problem.endswith("got null")


OPTIONAL = [(cls, name) for cls in RECEIVED for name in field_names(cls) if name not in MINIMAL[cls]]


@pytest.mark.parametrize(("cls", "name"), OPTIONAL)
def test_a_null_optional_field_is_an_absent_one(cls: type[Any], name: str) -> None:
    assert structure({**minimal(cls), name: None}, cls) == structure(minimal(cls), cls)


_WRONG: dict[str, list[object]] = {
    "string": [7, True, 1.5, [], {}],
    "integer": ["7", True, 7.0, [], {}],
    "number": ["7", True, [], {}],
    "boolean": ["false", 0, 1, [], {}],
    "array": ["x", 7, {}, True],
    "object": ["x", 7, [], True],
}


def kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, list):
        return "array"
    names: dict[type[Any], str] = {str: "string", int: "integer", float: "number", dict: "object"}
    return names[type(value)]


@pytest.mark.parametrize("cls", RECEIVED, ids=NAMES)
def test_nothing_is_coerced(cls: type[Any]) -> None:
    for name, value in FULL[cls].items():
        if name == "dispatch":
            continue
        for wrong in _WRONG["number" if name == "expires_in" else kind_of(value)]:
            misfit = refused({**full(cls), name: wrong}, cls)
            assert misfit.path == f"$.{name}"
            assert misfit.problem.startswith("expected "), f"{name}: {wrong!r}"


@pytest.mark.parametrize("cls", RECEIVED, ids=NAMES)
def test_what_is_no_object(cls: type[Any]) -> None:
    payloads: list[object] = [None, 7, "x", True, [], 1.5]
    for payload in payloads:
        misfit = refused(payload, cls)
        assert misfit.path == "$"
        assert misfit.problem.startswith("expected an object, got "), repr(payload)


PLACES: list[tuple[type[Any], Any, str, str]] = [
    (Vm, {"vm_id": "v", "sessions": [{}]}, "$.sessions[0].session_id", "is missing"),
    (Vm, {"vm_id": "v", "sessions": [None]}, "$.sessions[0]", "expected an object, got null"),
    (Vm, {"vm_id": "v", "sessions": ["s"]}, "$.sessions[0]", "expected an object, got a string"),
    (
        ListVmsResponse,
        {"vms": [{"vm_id": "v"}, {"vm_id": "w", "sessions": [minimal(Session), {**minimal(Session), "cwd": 7}]}]},
        "$.vms[1].sessions[1].cwd",
        "expected a string, got an integer",
    ),
    (
        ListVmsResponse,
        {"vms": [{"vm_id": "v", "tunnels": [{**minimal(Tunnel), "port": True}]}]},
        "$.vms[0].tunnels[0].port",
        "expected an integer, got a boolean",
    ),
    (ListRunsResponse, {"runs": {}}, "$.runs", "expected an array, got an object"),
    (Vm, {"vm_id": "v", "network": {}}, "$.network.type", "is missing"),
    (Vm, {"vm_id": "v", "network": {"type": 5}}, "$.network.type", "expected a string, got an integer"),
    (Vm, {"vm_id": "v", "network": {"type": "allow"}}, "$.network.allow", "is missing"),
    (
        Vm,
        {"vm_id": "v", "network": {"type": "block", "block": ["h", 4]}},
        "$.network.block[1]",
        "expected a string, got an integer",
    ),
    (Session, {**minimal(Session), "env": {"A": 1}}, "$.env.A", "expected a string, got an integer"),
    (Session, {**minimal(Session), "env": {"a b": 1}}, "$.env['a b']", "expected a string, got an integer"),
    (
        SyncChunkWriteResult,
        {"ranges": [{"start": 0, "end": 1}, {"start": 2}]},
        "$.ranges[1].end",
        "is missing",
    ),
    (SyncChunkWriteResult, {"error": {"code": "x"}}, "$.error.message", "is missing"),
]


@pytest.mark.parametrize(("cls", "payload", "path", "problem"), PLACES)
def test_the_place_of_a_misfit(cls: type[Any], payload: object, path: str, problem: str) -> None:
    misfit = refused(payload, cls)
    assert (misfit.path, misfit.problem) == (path, problem)


def test_a_misfit_never_quotes_the_value() -> None:
    misfit = refused({"vm_id": "v", "owner_org_id": ["do not show me"]}, Vm)
    assert "do not show me" not in f"{misfit}{misfit.problem}"


@pytest.mark.parametrize(
    ("cls", "name"),
    [(Vm, "state"), (Vm, "provider"), (Session, "state"), (Tunnel, "state"), (Tunnel, "visibility"), (Run, "state")],
)
def test_unknown_values_of_enumerations_are_kept(cls: type[Any], name: str) -> None:
    assert getattr(structure({**full(cls), name: "hibernated"}, cls), name) == "hibernated"


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ({"type": "open"}, NetworkPolicyOpen()),
        ({"type": "blocked", "more": 1}, NetworkPolicyBlocked()),
        ({"type": "allow", "allow": []}, NetworkPolicyAllow(())),
        ({"type": "block", "block": ["a", "b"]}, NetworkPolicyBlock(("a", "b"))),
        ({"type": "mesh", "peers": [1]}, NetworkPolicyUnknown("mesh", {"type": "mesh", "peers": [1]})),
        (None, None),
    ],
)
def test_network_policies(wire: object, expected: object) -> None:
    vm = structure({"vm_id": "v", "network": wire}, Vm)
    assert vm.network == expected
    if expected is not None:
        sent = codec.unstructure(vm.network)
        assert sent == {key: value for key, value in cast("dict[str, Any]", wire).items() if key != "more"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"id": "old"}, "old"),
        ({"id": "old", "vm_id": None}, "old"),
        ({"id": "old", "vm_id": "new"}, "new"),
        ({"id": 7, "vm_id": "new"}, "new"),
    ],
)
def test_the_id_of_a_vm_by_its_older_name(payload: object, expected: str) -> None:
    assert structure(payload, Vm).vm_id == expected


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("hé\n", "utf-8", "hé\n".encode()),
        ("hé\n", "utf8", "hé\n".encode()),
        ("", "utf-8", b""),
        ("/wD+", "base64", b"\xff\x00\xfe"),
        ("", "base64", b""),
        ("AA==", "base64", b"\x00"),
    ],
)
def test_encodings(text: str, encoding: str, expected: bytes) -> None:
    output = {"stdout": text, "stdout_encoding": encoding, "stderr": text, "stderr_encoding": encoding}
    run = structure({**minimal(Run), **output}, Run)
    assert (run.stdout, run.stderr) == (expected, expected)
    result = structure({**output, "exit_code": 0}, CompletedRunResult)
    assert (result.stdout, result.stderr) == (expected, expected)
    file = {"path": "f", "size": 1, "content": text, "encoding": encoding}
    assert structure(file, SyncReadInlineResponse).content == expected


@pytest.mark.parametrize(
    ("text", "encoding", "path"),
    [
        ("x", "latin-1", "$.stdout_encoding"),
        ("x", "", "$.stdout_encoding"),
        ("x", "BASE64", "$.stdout_encoding"),
        ("x", 7, "$.stdout_encoding"),
        ("not base64!", "base64", "$.stdout"),
        ("AAA", "base64", "$.stdout"),
        ("AA==AA==", "base64", "$.stdout"),
        ("AA\n==", "base64", "$.stdout"),
        (7, "utf-8", "$.stdout"),
        (None, "utf-8", "$.stdout"),
    ],
)
def test_what_cannot_be_decoded(text: object, encoding: object, path: str) -> None:
    payload = {**minimal(CompletedRunResult), "stdout": text, "stdout_encoding": encoding}
    assert refused(payload, CompletedRunResult).path == path


def test_texts_of_outputs_show_what_is_no_text() -> None:
    run = structure(full(Run), Run)
    assert run.stdout_text == "hi\n"
    assert run.stderr_text == "\ufffd\x00\ufffd"


def test_the_kinds_of_results_tell_themselves_apart() -> None:
    assert structure(minimal(CompletedRunResult), CompletedRunResult).type == "completed"
    assert structure(minimal(BackgroundRunResult), BackgroundRunResult).type == "background"


def test_pages() -> None:
    page = structure(full(ListVmsResponse), ListVmsResponse)
    assert [vm.vm_id for vm in page] == ["vm-1", "vm-2"]
    assert len(page) == 2
    assert page
    assert page[1].vm_id == "vm-2"
    assert page.next_cursor == "c2"
    empty = structure({"runs": None}, ListRunsResponse)
    assert list(empty) == []
    assert len(empty) == 0
    assert not empty
    with pytest.raises(IndexError):
        empty[0]


@pytest.mark.parametrize("cls", RECEIVED, ids=NAMES)
def test_models_are_frozen(cls: type[Any]) -> None:
    value = structure(full(cls), cls)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, field_names(cls)[0], None)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (Tunnel, "auth_token"),
        (SyncReadPresignedResponse, "presigned_url"),
        (SyncPresignedWriteRequestResult, "presigned_url"),
        (SyncReadInlineResponse, "content"),
        (Session, "env"),
    ],
)
def test_what_stays_out_of_the_repr(cls: type[Any], name: str) -> None:
    value = structure(full(cls), cls)
    assert getattr(value, name)
    assert name not in repr(value)


def test_a_run_is_a_summary_with_output() -> None:
    assert set(field_names(RunSummary)) < set(field_names(Run))
