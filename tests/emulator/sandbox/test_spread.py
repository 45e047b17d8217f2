"""Trees apart on the disk: the attribute of the directory that they are in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from arker.emulator.sandbox.spread import TOP, attributes, spread
from arker.emulator.sandbox.trees import DirectoryStorage


def _attributes(directory: Path) -> int:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return attributes(opened)
    finally:
        os.close(opened)


def test_a_directory_of_trees_has_the_attribute_where_the_file_system_knows_it(tmp_path: Path) -> None:
    command = ["/usr/bin/stat", "--file-system", "--format=%T", str(tmp_path)]
    kind = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    plain = tmp_path / "plain"
    plain.mkdir()
    known = spread(plain)
    assert known or not kind.startswith("ext")  # ext2/ext3 is what ext4 is called there
    storage = DirectoryStorage(tmp_path / "trees", identity=None, tool_prefix=(), furnish=None)
    if known:
        assert _attributes(plain) & TOP
        assert _attributes(tmp_path / "trees") & TOP
    storage.close()
    assert not (tmp_path / "trees").exists()


@pytest.mark.parametrize("name", ["none", "file"])
def test_what_is_no_directory_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert not spread(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"content"
