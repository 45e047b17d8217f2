"""The list of a directory's files with their digests as a VM sees them, for clients of generation 1."""

from __future__ import annotations

import shlex
from typing import Any, Final

from arker._basics.programs import shell_program
from arker.emulator.sandbox.base import RunSpec, SandboxError
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import ServiceError, from_sandbox, invalid
from arker.emulator.server.records import VmRecord

MOST_FILES: Final = 50_000

PROGRAM: Final = shell_program(__package__, "manifest.sh")
_REFUSALS: Final = {
    13: "EACCES: it cannot be entered",
    20: "ENOTDIR: it is not a directory",
    22: "EINVAL: it leads to the root",
}
"""The program's exit codes, which are the numbers of the reasons."""


async def manifest(backend: Backend, vm: VmRecord, path: str) -> dict[str, Any]:
    """List the regular files below a directory. Where there is nothing at the path, there are none."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if not parts or ".." in parts:
        raise invalid("path", "a directory, not the root, without '..'")
    words = ["sh", "-c", PROGRAM, "sh", path if path.startswith("/") else f"./{path}", str(MOST_FILES + 1)]
    try:
        async with backend.starts:
            handle = await vm.sandbox.run(RunSpec(command=shlex.join(words)))
        exit_ = await handle.wait()
    except SandboxError as error:
        raise from_sandbox(error) from None
    if exit_.exit_code in _REFUSALS:
        message = _REFUSALS[exit_.exit_code]
        raise ServiceError("bad_request", message, details={"violations": [{"field": "path", "message": message}]})
    if exit_.exit_code != 0:
        raise ServiceError("unavailable", "the VM could not list the directory")
    output = handle.stdout()
    return read_listing(output if isinstance(output, bytes) else b"", path)


def read_listing(output: bytes, path: str, most: int = MOST_FILES) -> dict[str, Any]:
    """Read what the program says of a directory at this path; of more files than ``most``, only so many."""
    root, _, rest = output.partition(b"\0")
    facts, _, digests = rest.partition(b"\0\0")
    # Where there are no files, the empty record stands first.
    if rest.startswith(b"\0"):
        facts, digests = b"", b""
    hashes: dict[bytes, str] = {}
    for record in digests.split(b"\0"):
        digest, _, name = record.partition(b"  ")
        hashes[name] = digest.decode("ascii", "replace")
    entries: list[dict[str, Any]] = []
    for record in facts.split(b"\0"):
        size, mode, name = (*record.split(b" ", 2), b"", b"", b"")[:3]
        if name in hashes and size.isdigit():
            shown = name.removeprefix(b"./").decode("utf-8", "replace")
            entries.append({"path": shown, "size": int(size), "mode": int(mode, 8), "hash": hashes[name]})
    entries.sort(key=lambda entry: entry["path"])
    return {
        "root": root.decode("utf-8", "replace") or path,
        "hash_algo": "sha256",
        "entries": entries[:most],
        "truncated": len(entries) > most,
    }


__all__ = ["MOST_FILES", "PROGRAM", "manifest", "read_listing"]
