"""Text that is written at the end of a file, in encodings with a byte-order mark and in others."""

from __future__ import annotations

from pathlib import Path

import pytest

from arker import AsyncVM

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "utf-8", "utf-16-be"])
async def test_it_has_a_mark_at_the_beginning_of_the_file_only(vm: AsyncVM, tmp_path: Path, encoding: str) -> None:
    local, whole, opened = tmp_path / "file", "whole", "opened"
    for text in ("", "é\n", "2\n"):
        with local.open("a", encoding=encoding) as file:
            file.write(text)
        assert await vm.files.write_text(whole, text, encoding=encoding, append=True) == len(text)
        async with vm.files.open(opened, "a", encoding=encoding) as remote:
            for piece in text:
                await remote.write(piece)
                await remote.flush()
    assert local.read_text(encoding=encoding) == "é\n2\n"
    for path in (whole, opened):
        assert await vm.files.read_text(path, encoding=encoding) == "é\n2\n"
        assert await vm.files.read_bytes(path) == local.read_bytes()
