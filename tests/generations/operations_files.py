"""Operations of the client on files, directories and filesystems."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.generations.scenes import Operation, Scene

_LARGE: Final = bytes(range(256)) * (20 * 1024)
"""More than one chunk."""


@contextmanager
def _directory() -> Generator[Path, None, None]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


async def _sync(scene: Scene) -> None:
    await scene.vm.sync("d/file", "text \N{SNOWMAN}")
    assert (await scene.vm.sync("d/file")).decode() == "text \N{SNOWMAN}"


async def _upload(scene: Scene) -> None:
    await scene.vm.upload(_LARGE, "large")
    target = io.BytesIO()
    await scene.vm.download("large", target)
    assert target.getvalue() == _LARGE


async def _open_read(scene: Scene) -> None:
    await scene.vm.upload(b"abc", "file")
    async with scene.vm.open_read("file") as stream:
        assert await stream.read() == b"abc"


async def _files(scene: Scene) -> None:
    files = scene.vm.files
    await files.write_text("d/notes.txt", "first\n", parents=True)
    await files.write_text("d/notes.txt", "second\n", append=True)
    assert await files.read_text("d/notes.txt") == "first\nsecond\n"
    assert await files.listdir("d") == ["notes.txt"]
    async with files.open("d/notes.txt") as file:
        assert await file.read(5) == "first"
    await files.rename("d/notes.txt", "d/other")
    assert (await files.stat("d/other")).size == 13
    assert not await files.exists("d/notes.txt")
    try:
        await files.read_bytes("d/notes.txt")
    except FileNotFoundError:
        pass
    else:
        raise AssertionError("a file that is not there")


async def _directories(scene: Scene) -> None:
    with _directory() as place:
        (place / "from" / "sub").mkdir(parents=True)
        (place / "from" / "sub" / "a").write_bytes(b"a")
        (place / "from" / "b").write_bytes(b"b" * 1000)
        await scene.vm.upload_dir(place / "from", "kept")
        (place / "from" / "b").write_bytes(b"c")
        report = await scene.vm.upload_dir(place / "from", "kept")
        assert [entry.path for entry in report.entries if entry.action in {"create", "update"}] == ["b"]
        await scene.vm.download_dir("kept", place / "to")
        assert {str(each.relative_to(place / "to")) for each in (place / "to").rglob("*") if each.is_file()} == {
            "b",
            "sub/a",
        }
        assert (place / "to" / "b").read_bytes() == b"c"


async def _filesystems(scene: Scene) -> None:
    made = await scene.ar.create_filesystem(name=scene.name())
    assert (await scene.ar.get_filesystem(made.filesystem_id)).name == made.name
    assert made.filesystem_id in [each.filesystem_id for each in await scene.ar.list_filesystems(limit=1000)]
    assert [each.name async for each in scene.ar.iter_filesystems(name_prefix=made.name)] == [made.name]
    assert (await scene.ar.delete_filesystem(made.filesystem_id)).deleted is True


async def _mounts(scene: Scene) -> None:
    filesystem = await scene.ar.create_filesystem(name=scene.name())
    made = await scene.vm.create_mount(filesystem_id=filesystem.filesystem_id, path="/mnt/x")
    await scene.vm.run("echo kept > /mnt/x/file")
    assert [each.mount_id for each in await scene.vm.list_mounts()] == [made.mount_id]
    assert [each.path async for each in scene.vm.iter_mounts(page_size=1)] == ["/mnt/x"]
    assert (await scene.vm.delete_mount(made.mount_id)).deleted is True


async def _syncs(scene: Scene) -> None:
    filesystem = await scene.ar.create_filesystem(name=scene.name())
    made = await scene.vm.create_sync(filesystem_id=filesystem.filesystem_id, path="/mnt/x")
    assert [each.sync_id for each in await scene.vm.list_syncs()] == [made.sync_id]
    assert [each.path async for each in scene.vm.iter_syncs(page_size=1)] == ["/mnt/x"]
    assert (await scene.vm.delete_sync(made.sync_id)).deleted is True


OPERATIONS: Final = (
    Operation("vm.sync()", _sync),
    Operation("vm.upload(), vm.download()", _upload),
    Operation("vm.open_read()", _open_read),
    Operation("vm.files", _files),
    Operation("vm.upload_dir(), vm.download_dir()", _directories),
    Operation("ar.create_filesystem() and its kin", _filesystems),
    Operation("vm.create_mount() and its kin", _mounts),
    Operation("vm.create_sync() and its kin", _syncs),
)
