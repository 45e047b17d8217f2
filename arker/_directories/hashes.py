"""Digests of a VM's files from the server, where it has them: no command in the VM has to read the files."""

from __future__ import annotations

import logging
import posixpath
from typing import TYPE_CHECKING, Final

import attrs

from arker._protocol import forms
from arker._protocol.calls import files as file_calls
from arker.errors import ApiError

if TYPE_CHECKING:
    from arker._context import Place
    from arker._directories.entries import Tree

logger = logging.getLogger("arker")

MANIFEST: Final = "manifest"
"""The feature of servers, and how the digests were made."""
_ALGORITHM: Final = "sha256"


async def are_known(place: Place, root: str) -> bool:
    """Return whether the server can be asked for the digests of the files in a directory."""
    # The server reads every file there: in the home directory, that may be far more than what is compared.
    if (place.base_url, MANIFEST) in place.context.lacking or posixpath.normpath(root).strip("/.") == "":
        return False
    return await place.context.generations.find(place.base_url) == "1"


async def with_hashes(place: Place, root: str, remote: Tree, local: Tree) -> Tree | None:
    """Return the VM's directory with digests of the files that may be equal to local ones.

    Args:
        place: The VM.
        root: The directory in the VM.
        remote: Its content, without digests.
        local: The local directory.

    Returns:
        None if the server does not tell all of them.
    """
    sizes = {path: entry.size for path, entry in local.entries.items() if entry.kind == "file"}
    wanted = {
        path: entry for path, entry in remote.entries.items() if entry.kind == "file" and sizes.get(path) == entry.size
    }
    if not wanted:
        return attrs.evolve(remote, digest=None)
    try:
        reply = await place.send(file_calls.list_files(place, root))
    except ApiError as error:
        # The VM itself can be asked.
        logger.debug("the server does not list the files in %s: %s", root, error)
        if forms.code_of(error) in ("bad_request", "unsupported_operation", "not_implemented"):
            place.context.lacking.add((place.base_url, MANIFEST))
        return None
    found = {entry.path: entry for entry in reply.entries}
    if len(found) < len(reply.entries):  # names of other bytes that look the same in JSON
        return None
    entries = dict(remote.entries)
    for path, entry in wanted.items():
        told = found.get(path)
        if reply.hash_algo != _ALGORITHM or told is None or told.size != entry.size:
            return None
        entries[path] = attrs.evolve(entry, digest=told.hash)
    return attrs.evolve(remote, entries=entries, digest=MANIFEST)


__all__ = ["MANIFEST", "are_known", "with_hashes"]
