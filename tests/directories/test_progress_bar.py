"""The progress bar: what it shows, from any thread, and without its library."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from rich.console import Console

from arker import AsyncVM, ConfigurationError, FleetProgress, InvalidArgumentError, TransferProgress
from arker.progress import TransferBar
from arker.reports import FleetOperation
from tests.directories.test_manifest import written
from tests.directories.test_untrusted import says
from tests.support.server import ScriptedServer

MIB = 1024 * 1024


def told(**facts: Any) -> TransferProgress:
    """Return the events at a transfer's beginning, except for the facts."""
    usual: dict[str, Any] = {
        "operation": "vm.upload",
        "vm_id": "vm-1",
        "path": "/data/file",
        "direction": "upload",
        "done": 0,
        "total": 4 * MIB,
    }
    return TransferProgress(**{**usual, **facts})


def shown(*values: TransferProgress | FleetProgress, max_lines: int = 10, terminal: bool = False) -> list[str]:
    """Return the lines at the end."""
    out = io.StringIO()
    with TransferBar(console=Console(file=out, width=150, force_terminal=terminal), max_lines=max_lines) as bar:
        for value in values:
            bar(value)
    bar(told(path="afterwards"))
    return [" ".join(line.split()) for line in out.getvalue().splitlines() if line.strip()]


def line(text: str) -> str:
    """Remove the bar itself and the times."""
    words = [word for word in text.split() if "━" not in word and word not in {"?", "-:--:--"} and ":" not in word]
    return " ".join(word for word in words if not word.endswith("/s"))


def lines(*values: TransferProgress, max_lines: int = 10) -> list[str]:
    return [
        " ".join(word for word in line(text).split() if not word.replace(".", "").isdigit())
        for text in shown(*values, max_lines=max_lines)
    ]


def test_a_file() -> None:
    assert lines(told(), told(done=MIB)) == ["↑ /data/file 25% 1.0/4.0 MiB"]
    assert lines(told(done=4 * MIB, files_done=1, direction="download")) == ["↓ /data/file 100% 4.0/4.0 MiB"]
    assert lines(told(done=MIB, total=None)) == ["↑ /data/file 1.0/? MiB"]
    assert lines(told(done=512, total=1536)) == ["↑ /data/file 33% 0.5/1.5 KiB"]
    assert lines(told(done=MIB, files_done=1, files_failed=1)) == ["↑ /data/file 25% 1.0/4.0 MiB 1/1 files, failed"]


def test_many_files_and_directories() -> None:
    many = {"operation": "vm.upload_many", "files_total": 20}
    assert lines(told(path="a", **many), told(path="b", done=MIB, files_done=5, files_failed=1, **many)) == [
        "↑ files 25% 1.0/4.0 MiB 5/20 files, failed"
    ]
    assert lines(told(operation="vm.upload_dir", files_total=0, total=0)) == [
        "↑ /data/file 100% 0/0 bytes nothing to copy"
    ]


def fleet(operation: FleetOperation, done: int, total: int | None, failed: int = 0) -> FleetProgress:
    return FleetProgress(operation=operation, done=done, failed=failed, total=total, vms=3)


def test_fleets() -> None:
    text = shown(
        *(fleet("fork_many", done, 200) for done in range(201)),
        *(fleet("map", done, None, failed=done // 10) for done in range(51)),
        fleet("run", 0, 0),
    )
    assert [line(each) for each in text] == [
        "fork VMs 100% 200/200 VMs",
        "items 50/? items 5 failed",
        "run in VMs 100% 0/0 VMs",
    ]
    assert "/s" not in "".join(text)
    assert len(shown(fleet("map", 3, 3), fleet("map", 0, 3), fleet("map", 1, 3))) == 2


def test_each_transfer_has_a_line() -> None:
    over = told(done=4 * MIB, files_done=1)
    assert len(lines(over, told(vm_id="vm-2"), told(operation="vm.download"), told(path="/other"))) == 4
    # One that is over and begins anew has another; one that sends something again has not.
    assert lines(over, told(), told(done=MIB)) == ["↑ /data/file 100% 4.0/4.0 MiB", "↑ /data/file 25% 1.0/4.0 MiB"]
    assert lines(told(done=3 * MIB), told(done=MIB)) == ["↑ /data/file 25% 1.0/4.0 MiB"]


def test_of_too_many_lines_the_oldest_go_that_are_over() -> None:
    values = [told(path=f"/{number}", done=4 * MIB, files_done=1) for number in range(9)]
    assert [text.split()[1] for text in lines(told(path="/first"), *values, max_lines=3)] == ["/first", "/7", "/8"]


def test_strange_and_long_names() -> None:
    assert lines(told(path="[bold]/x[/]\x1b[31m\n"))[0].startswith("↑ '[bold]/x[/]\\x1b[31m\\n' 0%")
    assert lines(told(path="/" + "long/" * 30 + "name"))[0].startswith("↑ …long/long/long/long/long/long/long/name 0%")
    assert shown(told(path="[red]x"), terminal=True)


def test_from_many_threads() -> None:
    out = io.StringIO()
    with TransferBar(console=Console(file=out, width=150), max_lines=100) as bar:

        def work(number: int) -> None:
            for done in range(100):
                bar(told(path=f"/{number}", done=done, total=99, files_done=done // 99))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(" ".join(text.split()[:2]) for text in out.getvalue().splitlines()) == [f"↑ /{n}" for n in range(8)]
    assert out.getvalue().count("100%") == 8


def test_by_default_it_is_drawn_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with TransferBar() as bar:
        bar(told())
        print("the program's own output")
    out, err = capsys.readouterr()
    assert out == "the program's own output\n"
    assert "/data/file" in err


def test_arguments() -> None:
    for wrong in (0, -1, True, 1.5, "3"):
        with pytest.raises(InvalidArgumentError):
            TransferBar(max_lines=wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rich", "rich.progress", "rich.console"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ConfigurationError, match=r"pip install 'arker-async\[rich\]'"):
        TransferBar()


@pytest.mark.anyio
async def test_it_is_the_function_for_progress(server: ScriptedServer, vm: AsyncVM, tmp_path: Any) -> None:
    server.answer(says(written(b"81a4 4 ./a//\n81a4 4 ./b//\n")))
    out = io.StringIO()
    with TransferBar(console=Console(file=out, width=150)) as bar:
        assert (await vm.download_dir("/tmp/r", tmp_path / "back", progress=bar)).failures == ()
    assert "↓ /tmp/r" in out.getvalue()
    assert "2/2 files" in out.getvalue()
