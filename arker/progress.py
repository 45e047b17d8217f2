"""A progress bar for transfers and fleets, drawn by ``rich``, which the extra ``arker-async[rich]`` brings.

    with TransferBar() as bar:
        await vm.upload("model.bin", "/data/model.bin", progress=bar)
        await vm.upload_dir("src", "/srv/src", progress=bar)

It works with everything that tells `TransferProgress` or `FleetProgress`, also of many VMs at once, and from blocking
code as well.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

import arker
from arker._basics.lazy import later
from arker._basics.typing import Self
from arker.errors import ConfigurationError
from arker.models import _checks as check
from arker.reports import FleetProgress

if TYPE_CHECKING:
    from rich import console as consoles
    from rich.progress import Progress, TaskID
else:
    consoles = later("rich.console")

Key: TypeAlias = tuple[str, str, str]
"""Operation, VM, path: what tells transfers apart."""

_UNITS: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))
_FLEETS: Final = {
    "fork_many": ("fork VMs", "VMs"),
    "map": ("items", "items"),
    "run": ("run in VMs", "VMs"),
    "upload": ("upload to VMs", "VMs"),
    "delete": ("delete VMs", "VMs"),
}
"""What operations on a fleet are called, and what they count."""
_TITLE: Final = 40
"""Characters of a path that are shown: the last ones, which tell the most."""


class TransferBar:
    """One line for each transfer: what, how far, how much, how fast, how long yet. It is a function for ``progress=``.

        with TransferBar() as bar:
            await vm.download_dir("/srv/out", "out", progress=bar)

    One bar serves any number of transfers, one after the other or at once, from any thread. Outside of the block it
    takes no notice of what it is told.
    """

    def __init__(
        self, *, console: consoles.Console | None = None, transient: bool = False, max_lines: int = 10
    ) -> None:
        """A bar, which appears at ``with``.

        Args:
            console: Where to draw; by default standard error, so that a program's output stays its own. Where that is
                no terminal, the lines are written once, at the end.
            transient: Whether the lines vanish at the end.
            max_lines: With more lines than these, transfers that are over lose theirs, the oldest first.

        Raises:
            ConfigurationError: ``rich`` is not installed.
        """
        self._max_lines = check.check_integer("max_lines", max_lines, minimum=1)
        self._progress = _make_progress(console, transient)
        self._tasks: dict[Key, TaskID] = {}
        self._over: list[TaskID] = []
        self._lock = threading.Lock()
        self._shown = False

    def __enter__(self) -> Self:
        with self._lock:
            self._progress.start()
            self._shown = True
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._shown = False
            self._progress.stop()

    def __call__(self, progress: arker.TransferProgress | FleetProgress) -> None:
        """Show how far a transfer, or an operation on a fleet, is.

        Args:
            progress: What it tells.
        """
        with self._lock:
            if not self._shown:
                return
            line = _of_fleet(progress) if isinstance(progress, FleetProgress) else _of_transfer(progress)
            task = self._tasks.get(line.key)
            if task is None:
                task = self._tasks[line.key] = self._progress.add_task(
                    line.title, total=None, size="", note="", counts_bytes=line.counts_bytes
                )
            total, completed = progress.total, progress.done
            if total == 0:  # which would never look finished
                total, completed = 1, int(line.over)
            self._progress.update(task, total=total, completed=completed, size=line.size, note=line.note)
            if line.over:
                # What is told next under this key is another transfer.
                self._over.append(self._tasks.pop(line.key))
            while self._over and len(self._tasks) + len(self._over) > self._max_lines:
                self._progress.remove_task(self._over.pop(0))


def _make_progress(console: consoles.Console | None, transient: bool) -> Progress:
    try:
        # An extra.
        from rich import console as drawn_by
        from rich import progress
        from rich.text import Text
    except ImportError:
        raise ConfigurationError(
            "the progress bar needs the library rich: install arker-async[rich] (pip install 'arker-async[rich]')"
        ) from None
    if console is None:
        console = drawn_by.Console(stderr=True)

    class SpeedColumn(progress.TransferSpeedColumn):
        def render(self, task: progress.Task) -> Text:
            return super().render(task) if task.fields["counts_bytes"] else Text()

    return progress.Progress(
        # Paths are no markup.
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.fields[size]}", markup=False, justify="right"),
        SpeedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=transient,
        # What a program prints goes above the bar; but into a file it goes as ever.
        redirect_stdout=sys.stdout.isatty(),
    )


@frozen
class _Line:
    """What is shown of one operation, besides its bar.

    Attributes:
        key: Tells operations apart.
        over: Whether it has come to its end.
        counts_bytes: Whether bytes are what it counts, which have a speed.
    """

    key: Key
    title: str
    size: str
    note: str
    over: bool
    counts_bytes: bool = True


def _of_transfer(progress: arker.TransferProgress) -> _Line:
    over = progress.files_done >= progress.files_total
    return _Line(_key(progress), _title(progress), _size(progress), _note(progress), over)


def _of_fleet(progress: FleetProgress) -> _Line:
    title, things = _FLEETS[progress.operation]
    total = "?" if progress.total is None else f"{progress.total:,}"
    return _Line(
        (progress.operation, "", ""),
        title,
        f"{progress.done:,}/{total} {things}",
        f"{progress.failed:,} failed" if progress.failed else "",
        over=progress.done == progress.total,
        counts_bytes=False,
    )


def _key(progress: arker.TransferProgress) -> Key:
    # Of files that go together it is told of one, and then of another.
    path = "" if progress.operation.endswith("_many") else progress.path
    return progress.operation, progress.vm_id, path


def _title(progress: arker.TransferProgress) -> str:
    arrow = "↑" if progress.direction == "upload" else "↓"
    if progress.operation.endswith("_many"):
        return f"{arrow} {progress.files_total} files"
    path = progress.path if progress.path.isprintable() else ascii(progress.path)
    return f"{arrow} {path if len(path) <= _TITLE else f'…{path[-_TITLE + 1 :]}'}"


def _size(progress: arker.TransferProgress) -> str:
    largest = max(progress.done, progress.total or 0)
    unit, name = next(((unit, name) for unit, name in _UNITS if largest >= unit), _UNITS[-1])
    digits = 1 if unit > 1 else 0
    total = "?" if progress.total is None else f"{progress.total / unit:,.{digits}f}"
    return f"{progress.done / unit:,.{digits}f}/{total} {name}"


def _note(progress: arker.TransferProgress) -> str:
    if progress.files_total == 0:
        return "nothing to copy"
    if progress.files_total == 1 and not progress.files_failed:
        return ""
    failed = f", {progress.files_failed} failed" if progress.files_failed else ""
    return f"{progress.files_done}/{progress.files_total} files{failed}"


__all__ = ["TransferBar"]
