"""The processes of an earlier server on the same files: they die with it, but not at the same instant.

When a server is killed the kernel ends its VMs, and whatever they were writing goes on until then. The next server must
not touch their files before. A VM's first process is the last one of it to go, so that is the one that is noted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from arker.emulator.sandbox.host.process_tree import Started, has_ended

_FILE: Final = "processes"
PATIENCE: Final = 15.0
"""Seconds that they have for it; a VM with many processes takes a few milliseconds."""


class Processes:
    """The noted processes of the servers on one directory.

    Args:
        directory: The directory.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE

    def note(self, processes: Iterable[Started]) -> None:
        """Note processes that have been started. Raises `OSError`."""
        text = b"".join(b"%d %s\n" % (process.pid, process.time) for process in processes)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, text)
        finally:
            os.close(descriptor)

    def wait_for_former(self) -> bool:
        """Wait until those of earlier servers have ended, and forget them. Returns whether they have. Blocks."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return True
        fields = [line.split() for line in lines]
        left = {Started(int(pair[0]), pair[1]) for pair in fields if len(pair) == 2 and pair[0].isdigit()}
        give_up = time.monotonic() + PATIENCE
        while left := {process for process in left if not has_ended(process)}:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.002)
        self._path.unlink()
        return True


__all__ = ["PATIENCE", "Processes"]
