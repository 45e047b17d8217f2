"""What a server does first with the trees that an earlier one has left: half-done steps are completed or undone, what
belongs to no VM any more is found, and what is missing is told.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.closed import OPEN, close_again
from arker.emulator.sandbox.layers import PREFIX, SHARE, STACK, WORK, can_mount
from arker.emulator.sandbox.notes import Notes, unfinished, write_whole

LEFT: Final = ".left-"
"""Before the name of a tree that another one has taken the place of."""
_LAYER: Final = re.compile(rb"%b\d+" % re.escape(PREFIX.encode()))

Complete = Callable[[Path, Mapping[str, Any]], None]
"""Completes or undoes a step in this directory, as its note says."""


def complete_steps(base: Path, further: Mapping[str, Complete]) -> None:
    """Complete or undo every noted step. Nothing may run on the trees.

    Args:
        base: The directory of the trees.
        further: What to do for the steps that are not the storage's own, by their names.

    Raises:
        SandboxError: A step can be neither completed nor undone (``damaged``).
        OSError: For another reason.
    """
    known: Mapping[str, Complete] = {SHARE: undo_share, OPEN: close_again, **further}
    try:
        for note in Notes(base).left():
            known[note.facts["step"]](base, note.facts)
            note.end()
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(f"a note of a step in {base} says nothing that makes sense: {error!r}") from error


def undo_share(base: Path, facts: Mapping[str, Any]) -> None:
    """Undo that a VM's files become a layer: no VM has used what was made of it."""
    vm, layer, below = str(facts["vm"]), base / facts["layer"], [str(name) for name in facts["below"]]
    if not layer.exists():
        return
    place = base / vm
    if place.exists():
        place.rmdir()
    os.rename(layer, place)
    write_stack(base, vm, below)


def write_stack(base: Path, vm_id: str, names: Collection[str]) -> None:
    """Write down which layers a VM has. The file exists as a whole, or not at all.

    A VM without layers has no directory for the kernel's use either, by which a lost file is found out.
    """
    place = base / f"{STACK}{vm_id}"
    if names:
        write_whole(place, "\n".join(names))
    else:
        place.unlink(missing_ok=True)
        shutil.rmtree(base / f"{WORK}{vm_id}", ignore_errors=True)


def read_stack(base: Path, vm_id: str) -> list[str]:
    """Return the names of a VM's layers; none where all of its files are its own.

    Raises:
        SandboxError: They are no names of layers (``damaged``). An empty one would be the directory of all VMs.
    """
    place = base / f"{STACK}{vm_id}"
    try:
        names = place.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    if not all(_LAYER.fullmatch(name) for name in names):
        raise damaged(f"{place} should name the layers of {vm_id}, and says something else")
    return [name.decode() for name in names]


@frozen
class Found:
    """What an earlier server has left.

    Attributes:
        leftovers: What belongs to none of the trees.
        damage: What is wrong with each tree that is not whole.
    """

    leftovers: list[Path]
    damage: Mapping[str, str]


def look(base: Path, ids: Collection[str]) -> Found:
    """Look for these trees in the directory. What one that is not whole may consist of is no leftover.

    Raises:
        SandboxError: The kernel does not take so many layers with a path like this one (``unusable``).
    """
    wanted: set[str] = set()
    damage: dict[str, str] = {}
    for tree in ids:
        try:
            wanted |= _parts(base, tree)
        except SandboxError as error:
            if error.code != "damaged":
                raise
            damage[tree] = str(error)
            wanted |= {tree, f"{STACK}{tree}", f"{WORK}{tree}", unfinished(f"{STACK}{tree}")}
    if damage:  # nothing says for sure which layers they have
        wanted |= {path.name for path in layers_in(base)}
    return Found(sorted(path for path in base.iterdir() if path.name not in wanted), damage)


def layers_in(base: Path) -> list[Path]:
    """Return the layers in a directory of trees."""
    return [path for path in base.iterdir() if _LAYER.fullmatch(os.fsencode(path.name))]


def number_of(layer: Path) -> int:
    """Return the number in a layer's name."""
    return int(layer.name.removeprefix(PREFIX))


def _parts(base: Path, tree: str) -> set[str]:
    """Return the names of what a tree consists of.

    Raises:
        SandboxError: Some of it is missing (``damaged``), or cannot be mounted (``unusable``).
    """
    layers = read_stack(base, tree)
    if not layers and (base / f"{WORK}{tree}").exists():
        lost = base / f"{STACK}{tree}"
        raise damaged(f"the files of {tree} are incomplete: their layers should be named in {lost}, which is lost")
    if layers and not can_mount(base, len(layers)):
        what = f"{len(layers)} layers of {tree} cannot be mounted: the path {base} is too long, or has one of"
        raise SandboxError("unusable", f'{what} , : " \\ in it; move the directory to another path')
    parts = {tree, *layers}
    for name in sorted(parts):
        if not (base / name).is_dir():
            what = "a layer of the files" if name.startswith(PREFIX) else "the files"
            raise damaged(f"{what} of {tree} should be in {base / name}, and are not there")
    return parts | ({f"{STACK}{tree}", f"{WORK}{tree}"} if layers else set())


def exchange(base: Path, tree: Path, place: Path) -> Path:
    """Put a tree into the place of another one, which gets a place of its own. Returns that. Raises `OSError`."""
    aside = base / f"{LEFT}{os.urandom(8).hex()}"
    os.rename(place, aside)
    try:
        os.rename(tree, place)
    except OSError:
        os.rename(aside, place)
        raise
    return aside


def damaged(message: str) -> SandboxError:
    """Return the error for files that are not as the earlier server left them."""
    return SandboxError("damaged", message)


__all__ = [
    "LEFT",
    "Complete",
    "Found",
    "complete_steps",
    "damaged",
    "exchange",
    "layers_in",
    "look",
    "number_of",
    "read_stack",
    "undo_share",
    "write_stack",
]
