"""Notes of steps that must not stay half done, for a server whose VMs outlive it.

A server that is killed between two renames leaves a VM's files in two places. So it says beforehand what it is about to
do, and removes the note afterwards; the server that comes next completes the step, or undoes it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from attrs import frozen

PREFIX: Final = ".note-"
_UNFINISHED: Final = ".unfinished-"


@frozen
class Note:
    """A note of a step.

    Attributes:
        place: Its file; None where nothing is noted.
        facts: What it says; of a note that was left also what was added, as ``added``.
    """

    place: Path | None
    facts: dict[str, Any]

    def add(self, item: Any) -> None:
        """Note one more thing that the step is about to do. Raises `OSError`."""
        if self.place is not None:
            with self.place.open("a", encoding="ascii") as file:
                file.write(json.dumps(item) + "\n")

    def end(self) -> None:
        """Remove the note: the step is complete, or undone."""
        if self.place is not None:
            self.place.unlink()


class Notes:
    """The notes of one directory of trees.

    Args:
        base: The directory; None where VMs end with their server, and nothing needs to be noted.
    """

    def __init__(self, base: Path | None) -> None:
        self._base = base

    def begin(self, step: str, **facts: Any) -> Note:
        """Note a step that is about to begin. Raises `OSError`."""
        if self._base is None:
            return Note(None, facts)
        note = Note(self._base / f"{PREFIX}{os.urandom(8).hex()}", {"step": step, **facts})
        assert note.place is not None
        write_whole(note.place, json.dumps(note.facts) + "\n")
        return note

    def left(self) -> list[Note]:
        """Return the notes that an earlier server has left. Steps of different VMs do not touch each other."""
        places = [] if self._base is None else sorted(self._base.glob(f"{PREFIX}*"))
        return [_read(place) for place in places]


def _read(place: Path) -> Note:
    facts, _, rest = place.read_text().partition("\n")
    # A line without an end was being added when the server was killed: nothing of that was done.
    added = [json.loads(line) for line in rest.split("\n")[:-1]]
    return Note(place, {**json.loads(facts), "added": added})


def write_whole(place: Path, text: str) -> None:
    """Write a small file that exists as a whole or not at all."""
    beside = place.with_name(unfinished(place.name))
    beside.write_text(text)
    os.replace(beside, place)


def unfinished(name: str) -> str:
    """Return the name that a small file has until it is whole."""
    return f"{_UNFINISHED}{name}"


__all__ = ["Note", "Notes", "unfinished", "write_whole"]
