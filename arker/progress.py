"""A progress bar for transfers and fleets, drawn by ``rich``, which the extra ``arker-async[rich]`` brings.

    with TransferBar() as bar:
        await vm.upload("model.bin", "/data/model.bin", progress=bar)
        await vm.upload_dir("src", "/srv/src", progress=bar)

It works with every method that reports `TransferProgress` or `FleetProgress`, for many VMs at once, and in blocking
code.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

import arker
from arker._basics.lazy import later
from arker._basics.pickling import refuse_to_be_pickled
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
"""The key of a transfer: operation, VM and path."""

_UNITS: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))
_FLEETS: Final = {
    "fork_many": ("fork VMs", "VMs"),
    "map": ("items", "items"),
    "run": ("run in VMs", "VMs"),
    "upload": ("upload to VMs", "VMs"),
    "delete": ("delete VMs", "VMs"),
}
"""Labels of fleet operations, and the things that they count."""
_TITLE: Final = 40
"""Maximum number of characters shown of a path: the last ones, which are the most telling."""


class TransferBar:
    """A progress bar for ``progress=``, with a line for each transfer: name, fraction, bytes, speed and time left.

        with TransferBar() as bar:
            await vm.download_dir("/srv/out", "out", progress=bar)

    One bar serves any number of transfers, sequential or parallel, from any thread. Outside its block it ignores all
    reports.
    """

    __reduce__ = refuse_to_be_pickled

    def __init__(
        self, *, console: consoles.Console | None = None, transient: bool = False, max_lines: int = 10
    ) -> None:
        """Initialize the bar. It appears at ``with``.

        Args:
            console: Where to draw; by default standard error, to keep it apart from the program's output. If it is not
                a terminal, the lines are written once, at the end.
            transient: Whether to remove the lines at the end.
            max_lines: Maximum number of lines. Above it, the lines of finished transfers are removed, oldest first.

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
        """Show the progress of a transfer or of an operation on a fleet.

        Args:
            progress: The reported progress.
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
            if total == 0:  # which would never reach its end
                total, completed = 1, int(line.over)
            self._progress.update(task, total=total, completed=completed, size=line.size, note=line.note)
            if line.over:
                # The next report with this key belongs to another transfer.
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
        # Paths must not be read as markup.
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.fields[size]}", markup=False, justify="right"),
        SpeedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=transient,
        # The program's output appears above the bar; output to a file is unchanged.
        redirect_stdout=sys.stdout.isatty(),
    )


@frozen
class _Line:
    """The state of one line besides its bar.

    Attributes:
        key: Key of the operation.
        over: Whether the operation has ended.
        counts_bytes: Whether it counts bytes, for which a speed is shown.
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
    # For files that are transferred together, reports name one file after another.
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
