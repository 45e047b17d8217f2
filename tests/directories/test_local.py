"""The list of a local directory that changes meanwhile."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from arker._directories.local import scan, unreadable_error


def test_directories_that_go_while_they_are_listed(tmp_path: Path) -> None:
    for name in ("gone", "file", "stays"):
        (tmp_path / name).mkdir()

    def change(path: str, is_directory: bool) -> bool:
        if is_directory and path != "stays":
            (tmp_path / path).rmdir()
            if path == "file":
                (tmp_path / path).touch()
        return False

    tree = scan(str(tmp_path), change, lambda: None)
    assert sorted(tree.entries) == ["file", "stays"]
    assert list(tree.unreadable) == ["file"]  # so nothing is deleted in its place
    error = unreadable_error(tree.unreadable["file"])
    assert isinstance(error, NotADirectoryError)


@pytest.mark.parametrize(("reason", "number"), [("Permission denied", errno.EACCES), ("else", errno.EIO)])
def test_the_error_of_a_reason(reason: str, number: int) -> None:
    error = unreadable_error(reason)
    assert (error.errno, error.strerror) == (number, reason)
