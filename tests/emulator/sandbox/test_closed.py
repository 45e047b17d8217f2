"""Files and directories that their owner cannot read, in VMs without isolation."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from arker.emulator.sandbox import closed
from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.notes import Notes
from arker.emulator.sandbox.plain import PlainProvider
from arker.emulator.sandbox.recovery import complete_steps
from arker.emulator.sandbox.tools import Tools
from tests.emulator.sandbox.support import sh

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::arker.emulator.sandbox.plain.UnprotectedWarning")]

ROOT = Path(__file__).parents[3]


def sees_through_modes() -> bool:
    capabilities = next(line for line in Path("/proc/self/status").read_text().splitlines() if line[:6] == "CapEff")
    return bool(int(capabilities.split()[1], 16) & 0b110)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


needs_an_ordinary_user = pytest.mark.skipif(sees_through_modes(), reason="root reads what is closed")

MAKE = """
mkdir -p home/none/in home/write home/list home/open home/deep/er "home/one more"
for place in home/none home/none/in home/write home/list home/open home/deep home/deep/er "home/one more"
do echo "in $place" > "$place/file"; done
ln home/open/file home/open/again
ln -s open home/link
mkfifo home/pipe
printf x > $(printf 'home/\\377')
chmod 000 home/open/file home/deep/er/file home/pipe $(printf 'home/\\377')
chmod 0200 home/none/file
chmod 000 home/none/in home/deep/er
chmod 0400 home/list
chmod 0300 home/write
chmod 0111 "home/one more"
chmod 000 home/none home/deep
"""


def fill(tree: Path) -> None:
    subprocess.run(["bash", "-ec", MAKE], cwd=tree, check=True)


def look(root: Path, *, into: bool = True) -> dict[str, tuple[int, int, bytes | None]]:
    """Return the mode, the kind, and the content of everything in a tree, and leave the modes as they are."""
    found: dict[str, tuple[int, int, bytes | None]] = {}

    def add(path: Path, name: str) -> None:
        status = path.lstat()
        kind, mode, content = stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), None
        if into and kind in (stat.S_IFDIR, stat.S_IFREG):
            path.chmod(0o700)
        if kind == stat.S_IFREG:
            content = path.read_bytes() if into else None
        elif kind == stat.S_IFLNK:
            content = os.fsencode(path.readlink())
        elif kind == stat.S_IFDIR and os.access(path, os.R_OK | os.X_OK):
            for below in sorted(path.iterdir()):
                add(below, f"{name}/{below.name}")
        if into and kind in (stat.S_IFDIR, stat.S_IFREG):
            path.chmod(mode)
        found[name] = (mode, kind, content)

    add(root, "")
    return found


@pytest.fixture
async def plain(place: Path) -> AsyncIterator[PlainProvider]:
    provider = await PlainProvider.open(place)
    yield provider
    await provider.close()


def test_without_what_root_may() -> None:
    """Root's tests of this file: they would be about nothing if it saw through the modes."""
    if not sees_through_modes():
        return
    reduced = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    pytest_options = ["-q", "-n", "0", "-p", "no:cacheprovider", "-rs"]
    command = [*reduced, sys.executable, "-m", "pytest", *pytest_options, str(Path(__file__))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout, done.stdout


@needs_an_ordinary_user
@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(
    "closing", ["chmod 000 file", "chmod 000 dir", "chmod 0300 dir", "chmod 0600 dir", "chmod 000 dir/file dir"]
)
async def test_a_fork_has_what_is_closed(plain: PlainProvider, closing: str, running: bool) -> None:
    vm = await plain.create("one")
    await sh(vm, f"echo x > file; mkdir dir; echo y > dir/file; {closing}")
    if not running:
        await vm.close()
    before = look(vm.tree.path)
    copy = await plain.create("two", source=vm)
    assert look(copy.tree.path) == before
    assert look(vm.tree.path) == before
    again = await plain.create("three", source=copy)
    assert look(again.tree.path) == before
    for each in (vm, copy, again):
        await each.delete()
        assert not os.path.lexists(each.tree.path)


@needs_an_ordinary_user
async def test_a_fork_of_everything_that_can_be_closed(plain: PlainProvider) -> None:
    vm = await plain.create("one")
    await sh(vm, "true")
    fill(vm.tree.path)
    name = "d" * 200  # 25 times, for a path longer than a system call takes
    deep = (
        f"cd ~/../../tmp; for number in $(seq 25); do mkdir {name}; cd {name}; done; echo x > file; chmod 000 file .. ."
    )
    await sh(vm, f"umask 022; {deep}")
    await sh(vm, "for number in $(seq 300); do echo > many$number; done; chmod 000 many7 ../..")
    before = look(vm.tree.path, into=False)
    copy = await plain.create("two", source=vm)
    assert look(vm.tree.path, into=False) == look(copy.tree.path, into=False) == before
    for each in (vm, copy):
        each.tree.path.chmod(0o755)
    assert look(vm.tree.path / "home") == look(copy.tree.path / "home")
    look_deep = f"cd ~/../../tmp; for number in $(seq 25); do stat -c %a {name}; chmod 700 {name}; cd {name}; done"
    for each in (vm, copy):
        ended = await sh(each, f"{look_deep}; stat -c %a file; chmod 600 file; cat file")
        assert ended.text.split() == ["755"] * 23 + ["0", "0", "0", "x"]
    assert (copy.tree.path / "home/open/file").samefile(copy.tree.path / "home/open/again")
    for each in (vm, copy):
        each.tree.path.chmod(0)
        await each.delete()
        assert not os.path.lexists(each.tree.path)


@needs_an_ordinary_user
async def test_a_fork_that_fails_leaves_the_modes(plain: PlainProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = await plain.create("one")
    await sh(vm, "echo x > file; mkdir dir; echo y > dir/file; chmod 000 dir file")
    before = look(vm.tree.path)
    run, tried = Tools.run, 0

    async def fail(self: Tools, *command: str, **options: object) -> None:
        nonlocal tried
        tried += command[0] == "cp"
        await run(self, *command, **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        if command[0] == "cp":
            raise SandboxError("resource_pressure", "the disk is full")

    monkeypatch.setattr(Tools, "run", fail)
    with pytest.raises(SandboxError, match="the disk is full"):
        await plain.create("two", source=vm)
    assert tried == 2
    assert look(vm.tree.path) == before
    assert not (vm.tree.path.parent / "two").exists()


def test_what_is_closed_is_opened_to_be_read_and_closed_again(tmp_path: Path) -> None:
    tree = tmp_path / "vm"
    tree.mkdir()
    fill(tree)
    before = look(tree)
    notes = Notes(tmp_path)
    opened = closed.Closed(tree, notes)
    assert opened.open()
    for path in [tree, *tree.rglob("*")]:
        mode = path.lstat().st_mode
        assert mode & 0o400 or stat.S_ISFIFO(mode), path
        assert mode & 0o100 or not stat.S_ISDIR(mode), path
    (left,) = notes.left()
    assert (left.facts["step"], left.facts["vm"]) == (closed.OPEN, "vm")
    assert ["home/none", 0] in left.facts["added"]
    opened.close()
    assert look(tree) == before
    assert notes.left() == []
    assert not closed.Closed(tmp_path / "vm/home/link", notes).open()


def test_a_server_that_was_killed_leaves_nothing_open(tmp_path: Path) -> None:
    tree = tmp_path / "vm"
    tree.mkdir()
    fill(tree)
    tree.chmod(0)
    before = look(tree)
    assert closed.Closed(tree, Notes(tmp_path)).open()
    (note,) = tmp_path.glob(".note-*")
    with note.open("a") as file:
        file.write('["home/op')  # it was killed while it noted the next one
    complete_steps(tmp_path, {})
    assert look(tree) == before
    assert list(tmp_path.glob(".note-*")) == []
    tree.chmod(0o755)


def test_a_note_of_a_tree_that_has_gone_closes_nothing(tmp_path: Path) -> None:
    note = Notes(tmp_path).begin(closed.OPEN, vm="vm")
    note.add(["home/file", 0])
    complete_steps(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
