# Generated from arker/files.py by "nox -s facade": change that file, not this one.
"""`Files`: the files of a VM, in the terms of `os` and `pathlib`."""

from __future__ import annotations

from arker_sync._vmfiles.changes import Changes
from arker_sync._vmfiles.contents import Contents
from arker_sync._vmfiles.looks import Looks


class Files(Contents, Looks, Changes):
    """The files of a VM: read, written, listed and changed. `VM.files` is one, and needs no request.

        vm.files.write_text("/srv/notes.txt", "hello", parents=True)
        print(vm.files.stat("/srv/notes.txt").size, vm.files.listdir("/srv"))

    Each method is one command in a session of the SDK's own, which is kept for the next ones, or one request for a
    file's content. Paths may be of any bytes: those that are not UTF-8 are surrogates, as `os.fsdecode` makes them.
    Errors are Python's own as well, such as `FileNotFoundError`, with ``errno`` and ``filename``.
    """


__all__ = ["Files"]
