"""Open files of a VM in the hands of libraries that take Python's files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import tarfile
import zipfile
from typing import Any

import pytest

from arker_sync import VM, Arker, ConfigurationError


@pytest.fixture
def vm(blocking: Arker) -> VM:
    return blocking.fork("ubuntu")


def opened(vm: VM, mode: str) -> Any:
    return vm.files.open("file", mode)


def test_zip_files(vm: VM) -> None:
    with opened(vm, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a", b"content" * 1000)
        made.writestr("b/c", b"")
    with opened(vm, "rb") as file, zipfile.ZipFile(file) as read:
        assert read.namelist() == ["a", "b/c"]
        assert read.read("a") == b"content" * 1000


def test_tar_files(vm: VM) -> None:
    with opened(vm, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as made:
        made.addfile(tarfile.TarInfo("a"))
    with opened(vm, "rb") as file, tarfile.open(fileobj=file) as read:
        assert read.getnames() == ["a"]


def test_other_formats(vm: VM) -> None:
    with opened(vm, "wb") as file, gzip.open(file, "wt") as compressed:
        csv.writer(compressed).writerows([[1, 2], [3, 4]])
    with opened(vm, "rb") as file, gzip.open(file, "rt") as compressed:
        assert list(csv.reader(compressed)) == [["1", "2"], ["3", "4"]]
    with opened(vm, "w") as file:
        json.dump({"a": 1}, file)
    with opened(vm, "r") as file:
        assert json.load(file) == {"a": 1}
    with opened(vm, "wb") as file:
        pickle.dump([1], file)
    with opened(vm, "rb") as file:
        assert pickle.load(file) == [1]


def test_text_of_a_binary_file(vm: VM) -> None:
    vm.sync("file", "ä\nö\n".encode("latin-1"))
    with opened(vm, "rb") as file:
        text = io.TextIOWrapper(file, "latin-1")
        assert text.readlines() == ["ä\n", "ö\n"]
        text.detach()


def test_what_a_file_says_of_itself(vm: VM) -> None:
    vm.sync("file", b"content")
    for mode, readable, seekable in [("rb", True, True), ("r", True, False), ("wb", False, False), ("a", False, False)]:
        with opened(vm, mode) as file:
            assert (file.readable(), file.writable(), file.seekable()) == (readable, not readable, seekable)
            wrong = (lambda file=file: file.write(b"")) if readable else file.read
            with pytest.raises(ConfigurationError, match="was not opened for") as caught:
                wrong()
            assert isinstance(caught.value, io.UnsupportedOperation)
            assert isinstance(pickle.loads(pickle.dumps(caught.value)), io.UnsupportedOperation)
