"""The comparison of public interfaces: what breaks callers is found, and what only moves is not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.site import releases
from tools.site.interface import Change, Interface, announced, changes
from tools.site.names import PROMISED
from tools.site.releases import ROOT

PACKAGE = """\
from thing._inner.handles import AsyncHandle
from thing._inner.values import Error, Missing, pause

__all__ = ["AsyncHandle", "Error", "Missing", "pause"]
"""
HANDLES = """\
from thing._inner.parts import Runs

__all__ = ["AsyncHandle", "helper"]

def helper(a): ...

class AsyncHandle(Runs):
    id: str

    def __init__(self, id):
        \"\"\"Use `fork`.\"\"\"

    def close(self, *, deadline=None): ...
    def _inner(self, a): ...
"""
PARTS = """\
class Part: ...

class Runs(Part):
    def run(self, command, *, timeout=None): ...
"""
VALUES = """\
_UNSET = object()

class Error(Exception): ...
class Missing(Error, LookupError): ...

def pause(seconds, given=_UNSET): ...
"""


FILES = {
    "__init__": PACKAGE,
    "_inner/__init__": "",
    "_inner/handles": HANDLES,
    "_inner/parts": PARTS,
    "_inner/values": VALUES,
}


def interface(place: Path, replaced: dict[str, str] | None = None) -> Interface:
    """Write the package with some files replaced, and read it."""
    for name, text in (FILES | (replaced or {})).items():
        path = place / "thing" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Interface(place, ["thing"])


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("_inner/parts", "def run(self, command, ", "def run(self, ", ["thing.AsyncHandle.run"]),
        ("_inner/parts", "def run(", "def execute(", ["thing.AsyncHandle.run"]),
        ("_inner/parts", "timeout=None", "timeout", ["thing.AsyncHandle.run"]),
        ("_inner/parts", "timeout=None", "timeout=None, more=1", []),
        ("_inner/handles", "id: str", "name: str", ["thing.AsyncHandle.id"]),
        ("_inner/handles", "def __init__(self, id)", "def __init__(self, place)", []),
        ("_inner/handles", "def helper(a)", "def helper()", []),
        ("_inner/handles", "def _inner(self, a)", "def _other(self)", []),
        ("_inner/values", "(Error, LookupError)", "(Error)", ["thing.Missing"]),
        ("_inner/values", "(Error, LookupError)", "(LookupError)", ["thing.Missing"]),
        ("_inner/values", "_UNSET", "_ABSENT", []),
        ("_inner/values", "given=_UNSET", "given=0", ["thing.pause"]),
        ("__init__", '"pause"', "", ["thing.pause"]),
        ("__init__", "AsyncHandle", "Handle", ["thing.AsyncHandle"]),
    ],
)
def test_what_breaks_callers(tmp_path: Path, file: str, before: str, after: str, told: list[str]) -> None:
    assert before in FILES[file]
    replaced = {file: FILES[file].replace(before, after)}
    if after == "Handle":
        replaced["_inner/handles"] = HANDLES.replace(before, after)
    found = changes(interface(tmp_path / "old"), interface(tmp_path / "new", replaced))
    assert list(dict.fromkeys(change.path for change in found)) == told


def test_a_definition_may_move_to_another_private_file(tmp_path: Path) -> None:
    handles = HANDLES.replace("_inner.parts import Runs", "_inner.deep import Commands").replace("Runs", "Commands")
    moved = {
        "__init__": PACKAGE.replace("_inner.handles", "_inner.vm"),
        "_inner/vm": handles,
        "_inner/deep": PARTS.replace("Runs", "Commands"),
        "_inner/handles": "",
        "_inner/parts": "",
    }
    assert list(changes(interface(tmp_path / "old"), interface(tmp_path / "new", moved))) == []


def test_a_module_that_goes(tmp_path: Path) -> None:
    old = interface(tmp_path)
    assert [str(change) for change in changes(old, Interface(tmp_path, []))] == ["thing: the module was removed"]


def test_the_changelog_names_a_change_by_the_asyncio_clients_name_or_by_the_twins() -> None:
    text = """# Changelog\n\n## [0.2.0] - unreleased\n
### Added\n\n- `AsyncVM.added`\n
### Changed\n\n- `AsyncVM.run(command)` takes no list.\n
### Removed\n\n- `VM.resize`, `pause`.\n
## [0.1.0]\n\n### Removed\n\n- `AsyncVM.old`\n"""
    names = announced(text)
    for path in ("arker.AsyncVM.run", "arker_sync.VM.run", "arker.AsyncVM.resize", "arker_sync.pause"):
        assert Change(path, "").names & names, path
    for path in ("arker.AsyncVM.added", "arker.AsyncVM.old", "arker.AsyncVM", "arker.AsyncRun.run"):
        assert not Change(path, "").names & names, path


def test_all_that_is_promised_is_read() -> None:
    found = Interface(ROOT)
    assert set(found.modules) == set(PROMISED)
    for path, name, member in [
        ("arker", "AsyncVM", "run"),
        ("arker_sync", "VM", "run"),
        ("arker", "AsyncArker", "__init__"),
        ("arker.errors", "ArkerError", "request_id"),
        ("arker.models", "Vm", "vm_id"),
        ("arker.emulator", "Emulator", "reset"),
    ]:
        assert member in found.modules[path].members[name].members, (path, name, member)
    assert "__init__" not in found.modules["arker"].members["AsyncVM"].members
    missing = found.modules["arker"].classes["RemoteFileNotFoundError"]
    assert {"ArkerError", "NotFoundError", "FileNotFoundError"} <= found.bases(missing)


def test_the_base_is_the_last_release_or_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        settings = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *settings, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(releases, "ROOT", tmp_path)
    with pytest.raises(LookupError, match="no git repository"):
        releases.base()
    assert releases.tags() == []
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    with pytest.raises(LookupError, match=releases.FIRST):
        releases.base()
    for tag in ("v0.9.0", "other", "v0.10.0"):
        git("commit", "-q", "--allow-empty", "-m", tag)
        git("tag", tag)
    assert releases.base() == "v0.10.0"
    assert releases.base("v0.9.0") == "v0.9.0"
    assert releases.tags() == ["v0.10.0", "v0.9.0"]
    with pytest.raises(LookupError, match="v7"):
        releases.base("v7")
