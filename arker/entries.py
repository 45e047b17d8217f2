"""What `AsyncFiles` tells of files in a VM: their status, entries of directories, found lines and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import frozen

from arker._basics.guidance import instead

FileKind: TypeAlias = Literal[
    "file", "directory", "symlink", "fifo", "socket", "character_device", "block_device", "unknown"
]
"""The type of a path."""

FileEventKind: TypeAlias = Literal["created", "modified", "deleted", "overflow"]
"""The kind of a change. ``overflow``: there were too many at once, and some were lost."""

WatchMethod: TypeAlias = Literal["inotify", "polling"]
"""The source of events: the VM's kernel, or a comparison of lists."""


@frozen(kw_only=True)
class FileStat:
    """The status of a path in a VM.

    Attributes:
        kind: The type of the path.
        size: Size in bytes.
        mode: Permission bits, such as ``0o644``.
        uid: The owner's number.
        gid: The group's number.
        links: Number of hard links.
        inode: The inode's number; None where the VM has only POSIX tools.
        atime_ns: Time of the last access, in nanoseconds since 1970; None where the VM has only POSIX tools.
        mtime_ns: Time of the last modification of the content, likewise.
        ctime_ns: Time of the last change of the status, likewise.
        target: The target of a symlink that was not followed; otherwise None.
        target_kind: The type of what that symlink leads to; None if it leads to nothing.
    """

    kind: FileKind
    size: int
    mode: int
    uid: int
    gid: int
    links: int
    inode: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None
    target: str | None = None
    target_kind: FileKind | None = None

    if not TYPE_CHECKING:
        __getattr__ = instead

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.kind == "file"

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.kind == "directory"

    @property
    def is_symlink(self) -> bool:
        """Whether it is a symlink."""
        return self.kind == "symlink"


@frozen(kw_only=True)
class FileEntry:
    """An entry of a directory in a VM, with its status. Symlinks are not followed.

    Attributes:
        name: Its name in its directory; bytes that are not UTF-8 are surrogates (see `os.fsdecode`).
        path: Its path, which begins with the path of the directory that was listed.
        stat: Its status.
    """

    name: str
    path: str
    stat: FileStat

    if not TYPE_CHECKING:
        __getattr__ = instead

    @property
    def kind(self) -> FileKind:
        """The type of the path."""
        return self.stat.kind

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.stat.kind == "file"

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.stat.kind == "directory"

    @property
    def is_symlink(self) -> bool:
        """Whether it is a symlink."""
        return self.stat.kind == "symlink"


@frozen(kw_only=True)
class FileMatch:
    r"""A line of a file in a VM that matches a pattern.

    Attributes:
        path: The file's path, which begins with the path that was searched.
        line_number: The line's number, from 1.
        line: The line without its ``\n``: decoded as UTF-8, with invalid bytes shown as U+FFFD.
    """

    path: str
    line_number: int
    line: str


@frozen(kw_only=True)
class FileEvent:
    """A change in a directory of a VM.

    A file that is renamed is deleted at one path and created at another.

    Attributes:
        kind: The kind of the change.
        path: The path that has changed, which begins with the path that is watched.
        is_dir: Whether it is a directory.
        method: The source of the event: ``inotify``, or ``polling``, which misses changes that are undone in between.
    """

    kind: FileEventKind
    path: str
    is_dir: bool = False
    method: WatchMethod = "inotify"


__all__ = ["FileEntry", "FileEvent", "FileEventKind", "FileKind", "FileMatch", "FileStat", "WatchMethod"]
