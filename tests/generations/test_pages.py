"""The page on the wire names every operation and field of both generations, and only names that the client has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

import arker
from arker import AsyncArker, AsyncRun, AsyncVM, models
from tests.generations.schemas.operations import OPERATIONS, SCHEMAS

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text("utf-8")
_OF_WORKERS = "/v1/pools/{pool_id}/workers/{worker_id}"
_CLASSES: dict[str, Any] = {"ar": AsyncArker, "vm": AsyncVM, "run": AsyncRun}


def section(title: str) -> str:
    """Return the text below the heading that has a title among its names."""
    found = re.search(rf"^###? [^\n]*\b{title}\b[^\n]*\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def named(text: str) -> set[str]:
    """Return every name that stands in backticks."""
    return {name for code in re.findall(r"`([^`]+)`", text) for name in re.findall(r"\w+", code)}


def test_every_operation_of_generation_1() -> None:
    operations = section("Operations")
    for operation in OPERATIONS:
        if not operation.path.startswith(_OF_WORKERS):
            assert f"`{operation.method} {operation.path}`" in operations, operation.name


def test_every_query() -> None:
    queries = named(section("Queries"))
    assert {name for each in OPERATIONS if "pty" not in each.path for name in each.query} <= queries


@pytest.mark.parametrize(
    ("title", "shapes", "model"),
    [
        ("ForkRequest", ["ForkRequest", "ResourcesInput"], models.ForkRequest),
        ("PatchVmRequest", ["PatchVmRequest"], models.PatchVmRequest),
        ("RunRequest", ["RunRequest"], models.RunRequest),
        ("CreateSessionRequest", ["CreateSessionRequest"], models.CreateSessionRequest),
        ("CreateSessionRequest", ["MountCreateRequest", "FilesystemCreateRequest"], models.MountCreateRequest),
        ("Vm", ["Vm"], models.Vm),
        ("Session", ["Session"], models.Session),
        ("Run", ["Run", "RunSummary"], models.Run),
        ("CompletedRunResult", ["CompletedRunResponse", "BackgroundRunResponse"], models.CompletedRunResult),
        ("CompletedRunResult", [], models.BackgroundRunResult),
        ("Mount", ["Mount"], models.Mount),
        ("Mount", [], models.Sync),
        ("Filesystem", ["Filesystem"], models.Filesystem),
        ("OrgRunListRow", ["OrgRunListRow"], models.OrgRunListRow),
        ("RegionPlacement", ["RegionPlacement", "WhoamiResponse"], models.RegionPlacement),
        ("PolicyUpdate", ["PolicyUpdate", "PolicyRule", "PolicyMatch", "Rewrite", "Gate"], models.PolicyMatch),
        ("PolicyUpdate", ["ScaleAction", "ScheduleRule", "SshKeyInput", "RegistryAuth"], models.RequestAction),
        ("CreatePoolRequest", ["CreateManagedPoolRequest", "CreatePoolByoc"], models.CreatePoolRequest),
        ("CreatePoolRequest", ["UpdatePoolRequest", "CreateApiKeyRequest"], models.CreatePoolByoc),
        ("Pool", ["ManagedPool", "ByocPool", "SelfHostedPool", "PoolByoc"], models.Pool),
        ("Pool", ["Worker", "ApiKey", "CreatedApiKey"], models.ApiKey),
        ("Files", ["SyncReadInlineResponse", "SyncReadPresignedResponse", "SyncChunkWrite"], models.SyncChunkWrite),
        ("Files", ["SyncChunkWriteResult", "SyncManifestResponse", "ManifestEntry"], models.SyncChunkWriteResult),
        ("Errors", ["ErrorMetadata", "ErrorExecutionContext"], models.ErrorResponse),
    ],
)
def test_every_field(title: str, shapes: list[str], model: Any) -> None:
    names = named(section(title))
    members = {member for shape in shapes for member in SCHEMAS[shape]["properties"]}
    assert members - names == set()
    own = {each.name for each in attrs.fields(model) if each.init and each.name != "misfits"}
    assert own - names == set()


def test_the_names_of_the_client_are_there() -> None:
    calls = re.findall(r"`(ar|vm|run)\.(\w+)\(", PAGE)
    assert len(calls) > 50
    for owner, name in calls:
        assert hasattr(_CLASSES[owner], name), f"{owner}.{name}"
    public = {name for name in dir(AsyncVM) + dir(AsyncArker) if not name.startswith(("_", "iter_"))}
    missing = {name for name in public if callable(getattr(arker.AsyncVM, name, getattr(AsyncArker, name, None)))}
    local = {"aclose", "attach_run", "keep", "keep_alive", "local", "reap", "vm"}
    assert missing - {name for _, name in calls} - local == set()
