"""State directories that are refused, and left as they are."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from arker.emulator import EmulatorOptions
from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.host.provider import require_owner
from arker.emulator.server.state.directory import StateDirectory
from arker.errors import InvalidArgumentError, StateDirectoryError
from tests.emulator.server.kept import DATABASE, ROOT, content, options, refused, running
from tests.emulator.server.support import output
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio


async def test_two_backends_on_one_directory(state: Path) -> None:
    async with running(state, isolation="none") as api:
        vm = (await api.fork())["vm_id"]
        await refused(state, "in_use", "another backend is running on it", isolation="none")
        assert output(await api.run(vm, "echo here")) == b"here\n"


def spoil_header(state: Path) -> None:
    (state / DATABASE).write_bytes(b"no database at all" * 1000)


def spoil_middle(state: Path) -> None:
    content = bytearray((state / DATABASE).read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    (state / DATABASE).write_bytes(content)


def empty(state: Path) -> None:
    (state / DATABASE).write_bytes(b"")


def remove_records(state: Path) -> None:
    (state / DATABASE).unlink()


def remove_files(state: Path) -> None:
    shutil.rmtree(state / "vms")


def other_shape(state: Path) -> None:
    with closing(sqlite3.connect(state / DATABASE, isolation_level=None)) as connection:
        connection.execute("UPDATE records SET doc = '{\"vm_id\": \"x\"}' WHERE kind = 'vm'")


def orphan(state: Path) -> None:
    with closing(sqlite3.connect(state / DATABASE, isolation_level=None)) as connection:
        connection.execute("DELETE FROM records WHERE kind = 'session'")


def newer(state: Path) -> None:
    with closing(sqlite3.connect(state / DATABASE, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 2")


async def test_damage_and_newer_formats_are_refused_and_nothing_is_changed(state: Path) -> None:
    async with running(state, isolation="none") as api:
        vm = (await api.fork(name="here"))["vm_id"]
        await api.run(vm, "echo content > file")
    sound = state.with_name("sound")
    copy(state, sound)
    of_database: list[tuple[Callable[[Path], None], str, str]] = [
        (spoil_header, "damaged", "is damaged: records.sqlite3"),
        (spoil_middle, "damaged", "is damaged: records.sqlite3"),
        (empty, "damaged", "no database of this program"),
        (remove_records, "damaged", "its records .* are not there"),
        (newer, "newer", "of a newer version of arker-async"),
    ]
    of_content: list[tuple[Callable[[Path], None], str, str]] = [
        (remove_files, "damaged", f"the files of {vm} should be in"),
        (other_shape, "damaged", f"the record of the vm {vm}: no VmDoc"),
        (orphan, "damaged", f"VM {vm} has no session"),
    ]
    try:
        for spoil, reason, words in (*of_database, *of_content):
            spoil(state)
            before = content(state)
            if (spoil, reason, words) in of_database:
                with pytest.raises(StateDirectoryError, match=words) as caught:
                    StateDirectory(state)
                assert caught.value.reason == reason
            else:
                await refused(state, reason, words, isolation="none")
            assert content(state) == before, spoil
            shutil.rmtree(state)
            copy(sound, state)
        async with running(state, isolation="none") as api:
            assert output(await api.read("here", "file"), "content") == b"content\n"
    finally:
        shutil.rmtree(sound)


def copy(directory: Path, target: Path) -> None:
    """Copy a directory with the owners of all files."""
    subprocess.run(["cp", "-a", directory, target], check=True)


def no_text(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE records SET doc = CAST(x'7b2261223a2268696464656ebc227d' AS TEXT) WHERE kind = 'vm'")


def no_bytes(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE outputs SET content = CAST(content AS TEXT)")


def no_secret(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE meta SET value = 'x' WHERE name = 'secret'")


def no_table(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE outputs")


async def test_records_of_a_sound_structure_that_make_no_sense_are_damage(state: Path) -> None:
    async with running(state, isolation="none") as api:
        await api.run((await api.fork())["vm_id"], "echo out")
    sound = (state / DATABASE).read_bytes()
    for spoil, words in (
        (no_text, "not UTF-8"),
        (no_bytes, "stdout of run .* is no bytes"),
        (no_secret, "hexadecimal"),
        (no_table, "no such table"),
    ):
        with closing(sqlite3.connect(state / DATABASE, isolation_level=None)) as connection:
            spoil(connection)
        with pytest.raises(StateDirectoryError, match=words) as caught:
            async with ForkedEmulator(options(state, "none")):
                pass
        assert caught.value.reason == "damaged"
        assert "hidden" not in str(caught.value), "it may be a variable of a VM"
        for name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):
            (state / name).unlink(missing_ok=True)
        (state / DATABASE).write_bytes(sound)
    async with running(state, isolation="none") as api:
        assert len(await api.list_all("/v1/vms", "vms", source_org_id="org_local")) == 1


async def test_a_root_without_permissions_keeps_no_backend_from_starting(state: Path) -> None:
    async with running(state, isolation="none") as api:
        vm, other = (await api.fork())["vm_id"], (await api.fork())["vm_id"]
        for each in (vm, other):
            await api.run(each, "echo content > file")
        await api.run(vm, f"chmod 0 {shlex.quote(str(state / 'vms' / vm))}")
    async with running(state, isolation="none") as api:
        assert output(await api.read(other, "file"), "content") == b"content\n"
        (state / "vms" / vm).chmod(0o755)
        assert output(await api.read(vm, "file"), "content") == b"content\n"


async def test_directories_of_others_are_left_alone(state: Path) -> None:
    state.mkdir()
    (state / "thesis.txt").write_text("three years of work")
    await refused(state, "foreign", "there is thesis.txt in it")
    assert [path.name for path in state.iterdir()] == ["thesis.txt"]


def kill_amid_the_making(state: Path) -> None:
    """Begin to make the records in a process that ends in the middle of it, without any clean-up."""
    program = """
import os, pathlib, sqlite3, sys
from arker.emulator.server.state import database

class Killed(sqlite3.Connection):
    def execute(self, *statement):
        made = super().execute(*statement)
        if "outputs_by_vm" in statement[0]:
            os._exit(9)
        if "TABLE meta" in statement[0]:
            super().execute("BEGIN")
        return made

connect = sqlite3.connect
sqlite3.connect = lambda *where, **options: connect(*where, factory=Killed, **options)
database.Database(pathlib.Path(sys.argv[1]))
"""
    state.mkdir(mode=0o700)
    done = subprocess.run([sys.executable, "-c", program, str(state)], cwd=ROOT, check=False)
    assert done.returncode == 9
    assert sorted(path.name for path in state.iterdir()) == [f"{DATABASE}.new", f"{DATABASE}.new-journal"]


async def test_records_whose_making_was_killed_are_made_anew(state: Path) -> None:
    kill_amid_the_making(state)
    async with running(state) as api:
        await api.fork(name="first")
    assert not list(state.glob("*.new*"))
    async with running(state) as api:
        assert (await api.get("/v1/vms/first"))["name"] == "first"


async def test_another_isolation_is_refused(state: Path) -> None:
    async with running(state) as api:
        await api.fork()
    await refused(state, "mismatched", "isolation", isolation="none")


async def test_another_user_s_files_are_refused(state: Path) -> None:
    async with running(state) as api:
        await api.fork()
    owner = (state / "vms").stat().st_uid
    with pytest.raises(SandboxError, match=f"belong to the user {owner}, and VMs of this server to 12345") as caught:
        require_owner(state, 12345)
    assert caught.value.code == "mismatched"
    if os.getuid() == 0:  # others cannot give files away
        os.chown(state / "vms", 12345, 12345)
        await refused(state, "mismatched", "12345")


@pytest.mark.parametrize("value", ["", 7, "/nowhere/at/all", "/dev/null", b"bytes"])
def test_what_is_no_directory_is_refused_before_anything_is_started(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="state="):
        EmulatorOptions(state=value)


def test_a_relative_directory_is_meant_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert EmulatorOptions(state=Path("here")).state == tmp_path / "here"
