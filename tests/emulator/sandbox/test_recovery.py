"""What a server makes of the trees that a killed one has left."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.bubblewrap.graft import STEP, complete
from arker.emulator.sandbox.former import Processes
from arker.emulator.sandbox.host.process_tree import Started, started
from arker.emulator.sandbox.notes import Notes
from arker.emulator.sandbox.recovery import Found, complete_steps, look, write_stack
from arker.emulator.sandbox.trees import DirectoryTree
from tests.emulator.sandbox.interrupted import storage_of

ROOT = Path(__file__).parents[3]


def test_steps_that_are_killed_at_any_call_leave_every_file_to_its_vm() -> None:
    command = [sys.executable, "-m", "tests.emulator.sandbox.interrupted"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    counts = dict(line.split() for line in done.stdout.splitlines())
    assert counts.keys() == {"into_spare", "open_closed", "share"}
    assert all(int(count) >= 10 for count in counts.values()), counts


def test_what_belongs_to_no_vm_is_found(tmp_path: Path) -> None:
    for name in ("vm", ".work-vm", ".layer-1", ".layer-2", "old", ".work-old", ".spare-x"):
        (tmp_path / name).mkdir()
    write_stack(tmp_path, "vm", [".layer-1"])
    write_stack(tmp_path, "old", [".layer-1", ".layer-2"])
    names = [path.name for path in look(tmp_path, ["vm"]).leftovers]
    assert names == [".layer-2", ".spare-x", ".stack-old", ".work-old", "old"]


@pytest.mark.parametrize("name", ["vm", ".layer-1"])
def test_a_tree_that_is_missing_is_told(tmp_path: Path, name: str) -> None:
    for each in {"vm", ".layer-1"} - {name}:
        (tmp_path / each).mkdir()
    write_stack(tmp_path, "vm", [".layer-1"])
    (tmp_path / "old").mkdir()
    found = look(tmp_path, ["vm"])
    assert found.damage.keys() == {"vm"}
    assert re.search(f"the files of vm should be in {tmp_path / name}, and are not there", found.damage["vm"])
    assert [path.name for path in found.leftovers] == ["old"]


def test_a_lost_note_of_layers_is_told(tmp_path: Path) -> None:
    """Without them a VM would have only the files that it has changed itself."""
    for name in ("vm", ".layer-1", ".work-vm", "other"):
        (tmp_path / name).mkdir()
    write_stack(tmp_path, "vm", [".layer-1"])
    (tmp_path / ".stack-vm").unlink()
    (tmp_path / ".unfinished-.stack-vm").touch()
    found = look(tmp_path, ["vm", "other"])
    assert found.damage.keys() == {"vm"}
    assert re.search(f"the files of vm are incomplete.*{tmp_path}/.stack-vm", found.damage["vm"])
    assert found.leftovers == [], "a repair may need all of it"
    write_stack(tmp_path, "vm", [".layer-1"])
    assert look(tmp_path, ["vm", "other"]) == Found([], {})
    write_stack(tmp_path, "vm", [])
    assert [path.name for path in look(tmp_path, ["vm", "other"]).leftovers] == [".layer-1"]


@pytest.mark.parametrize("text", [b"", b"\0\0\0", b"..", b".layer-1\n", b".layer-1\nvm", b"\xff"])
def test_a_note_of_layers_that_names_none_is_damage(tmp_path: Path, text: bytes) -> None:
    """After a loss of power a small file may be empty. As a path that would be the directory of all VMs."""
    for name in ("vm", ".layer-1"):
        (tmp_path / name).mkdir()
    (tmp_path / ".stack-vm").write_bytes(text)
    found = look(tmp_path, ["vm"])
    assert "should name the layers of vm" in found.damage["vm"]
    assert found.leftovers == []


def test_what_a_completed_step_leaves_is_discarded_as_well(tmp_path: Path) -> None:
    for name in ("vm/home", ".spare-1/home"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "vm/home/file").write_text("text")
    Notes(tmp_path).begin(STEP, vm="vm", spare=".spare-1", mounts=["/proc"], ways=["/home"])
    left = asyncio.run(storage_of(tmp_path).recover(["vm"], {STEP: complete})).leftovers
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["vm", *(path.name for path in left)])
    assert (tmp_path / "vm/home/file").read_text() == "text"
    assert len(left) == 1


def test_a_tree_is_adopted_without_a_file_being_written(tmp_path: Path) -> None:
    """There may be no room for one."""
    for name in ("vm", ".layer-1", ".work-vm"):
        (tmp_path / name).mkdir()
    write_stack(tmp_path, "vm", [".layer-1"])
    before = (tmp_path / ".stack-vm").stat().st_ino
    tree = storage_of(tmp_path).adopt("vm")
    assert tree.stack is not None
    assert [layer.path.name for layer in tree.stack.layers] == [".layer-1"]
    assert (tmp_path / ".stack-vm").stat().st_ino == before


def test_no_layer_gets_the_name_of_one_that_an_earlier_server_has_left(tmp_path: Path) -> None:
    """That one is removed in the background, by its name."""
    for name in ("vm/home", ".layer-1", ".layer-11"):
        (tmp_path / name).mkdir(parents=True)
    storage = storage_of(tmp_path)
    for name in (".layer-1", ".layer-11"):
        (tmp_path / name).rmdir()
    storage._share(DirectoryTree(tmp_path / "vm", storage), tmp_path / "child")  # pyright: ignore[reportPrivateUsage]
    assert [path.name for path in tmp_path.glob(".layer-*")] == [".layer-12"]


@pytest.mark.parametrize(("name", "count"), [("a,b", 1), ("a:b", 1), ("n" * 200, 30)])
def test_layers_are_refused_where_the_kernel_would_not_take_their_paths(tmp_path: Path, name: str, count: int) -> None:
    """The directory may have been moved."""
    layers = [f".layer-{number}" for number in range(count)]
    for base in (tmp_path / "short", tmp_path / name):
        for each in ("vm", *layers):
            (base / each).mkdir(parents=True)
        write_stack(base, "vm", layers)
    with pytest.raises(SandboxError, match=f"{count} layers of vm cannot be mounted") as caught:
        look(tmp_path / name, ["vm"])
    assert caught.value.code == "unusable"
    write_stack(tmp_path / "short", "vm", layers[:2])
    assert [path.name for path in look(tmp_path / "short", ["vm"]).leftovers] == sorted(layers[2:])


@pytest.mark.parametrize("text", ["", "{}", '{"step": "unheard"}', '{"step": "share"}', "[]"])
def test_notes_that_make_no_sense_are_damage(tmp_path: Path, text: str) -> None:
    note = Notes(tmp_path).begin("share", vm="vm", layer=".layer-1", below=[])
    assert note.place is not None
    note.place.write_text(text)
    with pytest.raises(SandboxError, match="makes sense") as caught:
        complete_steps(tmp_path, {})
    assert caught.value.code == "damaged"


def test_without_lasting_trees_nothing_is_noted(tmp_path: Path) -> None:
    note = Notes(None).begin("share", vm="vm")
    note.end()
    assert list(tmp_path.iterdir()) == []
    assert Notes(None).left() == []


def test_notes_are_written_whole(tmp_path: Path) -> None:
    note = Notes(tmp_path).begin("share", vm="vm")
    assert [json.loads(path.read_text()) for path in tmp_path.iterdir()] == [{"step": "share", "vm": "vm"}]
    note.end()
    assert list(tmp_path.iterdir()) == []


def test_processes_of_a_former_server_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arker.emulator.sandbox.former.PATIENCE", 0.05)
    processes = Processes(tmp_path)
    assert processes.wait_for_former()
    with subprocess.Popen(["sleep", "600"]) as process:
        processes.note([started(process.pid), Started(process.pid, b"1")])
        assert not processes.wait_for_former()
        process.kill()
        process.poll()  # a process that has not been waited for has ended as well
        monkeypatch.setattr("arker.emulator.sandbox.former.PATIENCE", 30.0)
        assert processes.wait_for_former()
    assert list(tmp_path.iterdir()) == []
