"""`AsyncFiles`: the files of a VM, in the terms of `os` and `pathlib`."""

from __future__ import annotations

from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.shown import shown
from arker._vmfiles.changes import Changes
from arker._vmfiles.contents import Contents
from arker._vmfiles.looks import Looks


class AsyncFiles(Contents, Looks, Changes):
    """The files of a VM: read, written, listed and changed. `AsyncVM.files` is one, and needs no request.

        await vm.files.write_text("/srv/notes.txt", "hello", parents=True)
        print((await vm.files.stat("/srv/notes.txt")).size, await vm.files.listdir("/srv"))

    Each method is one command in a session of the SDK's own, which is kept for the next ones, or one request for a
    file's content. Paths may be of any bytes: those that are not UTF-8 are surrogates, as `os.fsdecode` makes them.
    Errors are Python's own as well, such as `FileNotFoundError`, with ``errno`` and ``filename``.
    """

    __reduce__ = refuse_to_be_pickled

    def __repr__(self) -> str:
        return shown(self._place.redact(f"<AsyncFiles of VM {self._place.vm_id}>"))


__all__ = ["AsyncFiles"]
