"""Files and directories, as they are tried before a service that drifts."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Final

from arker import ArkerError
from arker.transfer import Strategy
from tests.drift.held import Held, Operation
from tests.drift.service import BASE

_DIRECTORY: Final = ("create_session", "delete_session", "list_sessions", "run", "list_runs", "get_run", "get_vm")
_LARGE: Final = bytes(range(200))


def _there(held: Held, path: str) -> bytes | None:
    place = held.service.vms[BASE].place(path)
    return place.read_bytes() if place.is_file() else None


@contextlib.contextmanager
def _whole(held: Held, *, wanted: dict[str, bytes]) -> Generator[None, None, None]:
    """Files of the VM are the old or the new ones, and the new ones unless something is raised."""
    before = {path: _there(held, path) for path in wanted}
    yielded = False
    try:
        yield
        yielded = True
    finally:
        for path, data in wanted.items():
            allowed = (data,) if yielded else (data, before[path])
            if _there(held, path) not in allowed:
                held.wrong.append(f"{path} in the VM is {_there(held, path)!r}")


async def _sync(held: Held) -> None:
    with _whole(held, wanted={"small": b"hello"}):
        await held.call(held.vm.sync("small", b"hello"), "write")
    held.same("file", await held.call(held.vm.sync("small")), b"hello")


async def _open_read(held: Held) -> None:
    for path, data in {"small": b"small", "large": _LARGE}.items():
        async with held.vm.open_read(path) as stream:
            held.same("beginning", await held.call(stream.read(3)), data[:3])
            held.same("file", data[:3] + b"".join([piece async for piece in stream]), data)
        await stream.aclose()


async def _upload(held: Held) -> None:
    with _whole(held, wanted={"small": b"inline"}):
        await held.call(held.vm.upload(b"inline", "small"), "write")
    with _whole(held, wanted={"new": b"by a PUT"}):
        strategy: Strategy = "put" if held.service.plan.presigned else "auto"
        await held.call(held.vm.upload(b"by a PUT", "new", strategy=strategy), "write")


async def _download(held: Held) -> None:
    for path, data in {"small": b"small", "large": _LARGE}.items():
        target = held.local / path
        try:
            await held.call(held.vm.download(path, target))
        finally:
            if target.exists():
                held.same("file", target.read_bytes(), data)
        held.same("file", target.read_bytes(), data)


async def _upload_many(held: Held) -> None:
    files = {"small": b"one", "second": b"", "third": b"3" * 100}
    outcomes = await held.call(held.vm.upload_many([(data, path) for path, data in files.items()]), "write")
    for outcome in outcomes:
        assert outcome.error is None or isinstance(outcome.error, ArkerError), outcome.error
        if outcome.error is None:
            held.same(f"{outcome.path} in the VM", _there(held, outcome.path), files[outcome.path])
        elif outcome.error.outcome == "not_started" and any(
            effect.kind == "write" and effect.name == outcome.path and effect.truthful
            for effect in held.service.effects
        ):
            held.wrong.append(f"called undone: {outcome.error!r}")


async def _download_many(held: Held) -> None:
    files = {"small": b"small", "large": _LARGE, "tree/a": b"A"}
    targets = {path: held.local / str(number) for number, path in enumerate(files)}
    outcomes = await held.call(held.vm.download_many(list(targets.items())))
    for outcome in outcomes:
        assert outcome.error is None or isinstance(outcome.error, ArkerError), outcome.error
        if outcome.error is None:
            held.same(outcome.path, targets[outcome.path].read_bytes(), files[outcome.path])


# --- directories -----------------------------------------------------------------------------------------------------


def _tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def _put(root: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def _is_mixed(held: Held, found: dict[str, bytes], old: dict[str, bytes], new: dict[str, bytes]) -> None:
    for path, data in found.items():
        if data not in (old.get(path), new.get(path)):
            held.wrong.append(f"{path} is neither the old file nor the new one: {data!r}")
    if missing := [path for path in old if path not in found]:
        held.wrong.append(f"lost: {missing}")


async def _upload_dir(held: Held) -> None:
    local = _put(held.local / "from", {"a": b"A2", "new/c": b"CCC"})
    there = held.service.vms[BASE].place("tree")
    old, new = {"a": b"A", "d/b": b"BB"}, {"a": b"A2", "d/b": b"BB", "new/c": b"CCC"}

    def found() -> dict[str, bytes]:
        return {path: data for path, data in _tree(there).items() if not path.startswith(".arker-")}

    try:
        report = await held.call(held.vm.upload_dir(local, "tree", deadline=held.patience))
    except ArkerError as error:
        if error.outcome == "not_started":
            held.same("directory that was not touched", found(), old)
        raise
    finally:
        _is_mixed(held, found(), old, new)
    if not report.failures:
        held.same("directory", found(), new)


async def _download_dir(held: Held) -> None:
    old, new = {"a": b"OLD", "mine": b"M"}, {"a": b"A", "d/b": b"BB", "mine": b"M"}
    local = _put(held.local / "to", old)
    try:
        report = await held.call(held.vm.download_dir("tree", local, deadline=held.patience))
    except ArkerError as error:
        if error.outcome == "not_started":
            held.same("directory that was not touched", _tree(local), old)
        raise
    finally:
        _is_mixed(held, _tree(local), old, new)
    if not report.failures:
        held.same("directory", _tree(local), new)


OPERATIONS: Final = [
    Operation("sync", ("AsyncVM.sync",), ("write", "read"), _sync),
    Operation(
        "open_read",
        ("AsyncVM.open_read", "AsyncReadStream.read", "AsyncReadStream.aclose"),
        ("read", "store_get"),
        _open_read,
    ),
    Operation("upload", ("AsyncVM.upload",), ("write", "presign", "store_put", "commit"), _upload),
    Operation("download", ("AsyncVM.download",), ("read", "store_get"), _download),
    Operation("upload_many", ("AsyncVM.upload_many",), ("write",), _upload_many),
    Operation("download_many", ("AsyncVM.download_many",), ("read", "store_get"), _download_many),
    Operation("upload_dir", ("AsyncVM.upload_dir",), (*_DIRECTORY, "manifest", "write"), _upload_dir),
    Operation("download_dir", ("AsyncVM.download_dir",), (*_DIRECTORY, "manifest", "read"), _download_dir),
]

__all__ = ["OPERATIONS"]
