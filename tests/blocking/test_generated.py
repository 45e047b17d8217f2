"""What is generated is what is there, and what is added to the async surface appears in the blocking one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.facade.__main__ import is_generated, main
from tools.facade.package import generate
from tools.facade.text import Turner

ROOT = Path(__file__).parents[2]


def test_the_package_is_what_the_generator_writes() -> None:
    wanted = generate(ROOT)
    assert len(wanted) > 8
    for name, text in wanted.items():
        assert (ROOT / name).read_text() == text, f"{name} is not up to date: run nox -s facade"
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "arker_sync").rglob("*.py") if is_generated(path)}
    assert there == set(wanted)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of both packages that the test may change."""
    for name in ("arker", "arker_sync"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_change_of_the_async_surface_is_found_and_written(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"], copy) == 0
    records = copy / "arker/_vm/run_records.py"
    records.write_text(
        records.read_text().replace(
            "    async def get_run(",
            "    async def halves(\n"
            "        self, number: int, *, other: AsyncVM | None = None, deadline: float | None = None\n"
            "    ) -> tuple[int, int]:\n"
            '        """Two halves: ``await vm.halves(4)``."""\n'
            "        return number // 2, number // 2\n\n"
            "    async def get_run(",
        )
    )
    (copy / "arker_sync/_stale.py").write_text('# Generated from arker/_stale.py by "nox -s facade"\n')
    assert main(["--check"], copy) == 1
    checked = capsys.readouterr().out
    assert "+    def halves(" in checked
    assert "_stale.py: nothing gives this file any more" in checked
    assert main([], copy) == 0
    assert capsys.readouterr().out == "written: arker_sync/_vm/run_records.py\nremoved: arker_sync/_stale.py\n"
    text = (copy / "arker_sync/_vm/run_records.py").read_text()
    signature = "self, number: int, *, other: VM | None = None, deadline: float | None = None"
    assert f'    def halves({signature}) -> tuple[int, int]:\n        """Two halves: ``vm.halves(4)``."""\n' in text
    assert "work = self._async.halves(number, other=twin(other), deadline=deadline)" in text
    assert main(["--check"], copy) == 0


def test_what_cannot_be_turned_is_refused(copy: Path) -> None:
    records = copy / "arker/_vm/run_records.py"
    before = records.read_text()
    records.write_text(
        before.replace(
            "    async def get_run(",
            "    async def all_of(self) -> dict[str, AsyncVM]:\n        return {}\n\n    async def get_run(",
        )
    )
    with pytest.raises(SystemExit, match=r"no way to hand out dict\[str, AsyncVM\]"):
        main([], copy)


@pytest.mark.parametrize(
    ("text", "turned"),
    [
        ("async with await ar.fork(x) as vm:", "with ar.fork(x) as vm:"),
        ("print((await vm.run('echo hi')).stdout_text)", "print(vm.run('echo hi').stdout_text)"),
        ("f(await g(await h()))", "f(g(h()))"),
        ("async for vm in ar.iter_vms():", "for vm in ar.iter_vms():"),
        ("from arker import AsyncArker, AsyncVM", "from arker_sync import Arker, VM"),
        ("`AsyncArker.fork` and `aclose`, or ``vm.aclose()``", "`Arker.fork` and `close`, or ``vm.close()``"),
        ("as an async context manager", "as a context manager"),
        ("An async iterator; async iterators", "An iterator; iterators"),
        ("what is awaited", "what is awaited"),
    ],
)
def test_texts(text: str, turned: str) -> None:
    assert Turner({"AsyncArker": "Arker", "AsyncVM": "VM"}).prose(text) == turned


@pytest.mark.parametrize(
    ("annotation", "turned"),
    [
        ("str | AsyncVM | None", "str | VM | None"),
        ("AsyncIterator[AsyncVM]", "Iterator[VM]"),
        ("Callable[[AsyncVM, Item], Awaitable[Value]]", "Callable[[VM, Item], Value]"),
        ("Mapping[str,\n    int]", "Mapping[str, int]"),
        ("Iterable[Item] | AsyncIterable[Item]", "Iterable[Item]"),
    ],
)
def test_annotations(annotation: str, turned: str) -> None:
    assert Turner({"AsyncArker": "Arker", "AsyncVM": "VM"}).annotation(annotation) == turned
