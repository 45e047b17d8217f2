"""fsspec's abstract tests, and what pandas and universal_pathlib do through it."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pandas
import pytest
from fsspec.callbacks import Callback
from fsspec.tests import abstract
from upath import UPath

from arker import AsyncArker, AsyncVM, FileChangedError
from arker.emulator import Emulator
from arker.integrations import _fsspec_files
from arker.integrations.fsspec import ArkerFileSystem
from arker_sync import VM, Arker
from tests.conformance.support import count_vms, run_page, set_environment


@pytest.fixture(scope="module")
def backend() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def settings(backend: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put the backend into the environment, from which filesystems take their client."""
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, backend, tmp_path_factory.mktemp("settings"))
        yield
        # Filesystems close their clients when they end, which the backend has to see.
        ArkerFileSystem.clear_instance_cache()
        gc.collect()


@pytest.fixture(scope="module")
def vm(settings: None) -> Iterator[VM]:
    with Arker(ledger=False) as client, client.fork("ubuntu", name="conformance") as vm:
        yield vm


class Fixtures(abstract.AbstractFixtures):
    @pytest.fixture(scope="module")
    def fs(self, vm: VM) -> ArkerFileSystem:
        return ArkerFileSystem()

    @pytest.fixture
    def fs_path(self, vm: VM) -> str:
        return f"{vm.id}/tmp/{uuid.uuid4().hex}"


class TestCopy(abstract.AbstractCopyTests, Fixtures):
    pass


class TestGet(abstract.AbstractGetTests, Fixtures):
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):
    pass


class TestOpen(abstract.AbstractOpenTests, Fixtures):
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):
    pass


def test_pandas_writes_and_reads_a_table(vm: VM) -> None:
    table = pandas.DataFrame({"number": range(1000), "text": [f"row {number}" for number in range(1000)]})
    table.to_csv(f"arker://{vm.id}/tmp/tables/table.csv", index=False)
    assert vm.run("wc -l < /tmp/tables/table.csv").stdout_text.strip() == "1001"
    assert pandas.read_csv(f"arker://{vm.name}/tmp/tables/table.csv").equals(table)


def test_universal_pathlib_lists_and_reads(vm: VM) -> None:
    vm.files.write_text("/tmp/paths/a.txt", "a", parents=True)
    vm.files.mkdir("/tmp/paths/b")
    path = UPath(f"arker://{vm.id}/tmp/paths")
    assert sorted(each.name for each in path.iterdir()) == ["a.txt", "b"]
    assert (path / "a.txt").read_text() == "a"
    assert (path / "b").is_dir()


def test_ranges_are_read_and_not_the_whole_file(backend: Emulator, vm: VM) -> None:
    vm.files.write_bytes("/tmp/large", bytes(range(256)) * 65536)
    fs = fsspec.filesystem("arker")
    with fs.open(f"{vm.id}/tmp/large", block_size=4096) as file:
        file.seek(256 * 4000)
        assert file.read(10) == bytes(range(10))
    assert fs.cat_file(f"{vm.id}/tmp/large", start=-3) == bytes([253, 254, 255])
    assert fs.cat_file(f"{vm.id}/tmp/large", start=250, end=260) == bytes([*range(250, 256), *range(4)])


def test_errors_are_those_of_python(vm: VM) -> None:
    fs = fsspec.filesystem("arker")
    for missing in (f"{vm.id}/tmp/missing", "no-such-vm/tmp"):
        with pytest.raises(FileNotFoundError):
            fs.info(missing)
        with pytest.raises(FileNotFoundError):
            fs.cat_file(missing)
        assert not fs.exists(missing)
    for read in (fs.cat_file, fs.open):
        with pytest.raises(IsADirectoryError):
            read(f"{vm.id}/tmp")
    with pytest.raises(FileExistsError):
        fs.mkdir(f"{vm.id}/tmp")


def test_listings_are_kept_if_asked_for(vm: VM) -> None:
    vm.files.write_text("/tmp/listed/a", "a", parents=True)
    fresh, kept = ArkerFileSystem(), ArkerFileSystem(use_listings_cache=True)
    place = f"{vm.id}/tmp/listed"
    assert kept.ls(place, detail=False) == fresh.ls(place, detail=False) == [f"{place}/a"]
    vm.files.write_text("/tmp/listed/b", "b")
    assert fresh.ls(place, detail=False) == [f"{place}/a", f"{place}/b"]
    assert kept.ls(place, detail=False) == [f"{place}/a"]
    kept.pipe_file(f"{place}/c", b"c")
    assert kept.ls(place, detail=False) == [f"{place}/{name}" for name in "abc"]


def test_symlinks_have_the_size_of_their_file_and_are_not_walked_into(vm: VM) -> None:
    vm.run("mkdir -p /tmp/links; cd /tmp/links; echo hello > file; ln -s file link; ln -s . loop; ln -s none broken")
    fs, place = fsspec.filesystem("arker"), f"{vm.id}/tmp/links"
    found = fs.find(place, detail=True)
    assert {name.rpartition("/")[2]: (entry["type"], entry["size"]) for name, entry in found.items()} == {
        "file": ("file", 6),
        "link": ("file", 6),
        "loop": ("link", 1),
        "broken": ("link", 4),
    }
    assert fs.cat_file(f"{place}/link") == b"hello\n"
    assert fs.isdir(f"{place}/loop")


def test_many_symlinks_take_few_commands(vm: VM) -> None:
    vm.run(
        "mkdir /tmp/names; cd /tmp/names; echo hello > file; for n in $(seq 900); do ln -s file link$n; done",
        check=True,
    )
    fs, place = fsspec.filesystem("arker"), f"{vm.id}/tmp/names"
    fs.ls(place)  # the first operation looks for tools
    for look in (lambda: fs.ls(place), lambda: fs.find(place, detail=True).values()):
        before = count_runs(vm)
        found = look()
        assert count_runs(vm) - before < 10
        assert [entry["size"] for entry in found] == [6] * 901
    before = count_runs(vm)
    assert len(fs.find(place)) == 901
    assert count_runs(vm) - before < 3


def count_runs(vm: VM) -> int:
    return len(list(vm.iter_runs()))


def test_an_open_file_is_one_version(vm: VM) -> None:
    fs, place = fsspec.filesystem("arker"), f"{vm.id}/tmp/versions"
    fs.pipe_file(place, b"one")
    with fs.open(place) as file:
        fs.pipe_file(place, b"another one")
        assert file.read() == b"one"
    vm.run("head -c 9000000 /dev/zero > /tmp/versions")
    with fs.open(place) as file:
        fs.pipe_file(place, b"short")
        with pytest.raises(FileChangedError):
            file.read()


def test_what_is_no_file_is_not_an_empty_one(vm: VM) -> None:
    vm.run("mkfifo /tmp/fifo")
    with pytest.raises(OSError, match="Invalid argument"):
        fsspec.filesystem("arker").open(f"{vm.id}/tmp/fifo")


def test_a_directory_is_moved_with_all_that_is_in_it(vm: VM) -> None:
    fs, place = fsspec.filesystem("arker"), f"{vm.id}/tmp/whole"
    vm.run("mkdir -p /tmp/whole/a/b; cd /tmp/whole/a; echo x > b/file; ln -s b loop; ln -s none broken; chmod 700 b")
    content = "find . -printf '%P %y %m\n' | sort"
    before = vm.run(content, cwd="/tmp/whole/a").stdout
    fs.mv(f"{place}/a", f"{place}/new/c", recursive=True)
    assert vm.run(content, cwd="/tmp/whole/new/c").stdout == before
    fs.mkdir(f"{place}/d")
    fs.mv(f"{place}/new/c", f"{place}/d")
    assert vm.run(content, cwd="/tmp/whole/d/c").stdout == before
    fs.mv(f"{place}/d/c/b/file", f"{place}/e/")
    assert fs.cat_file(f"{place}/e/file") == b"x\n"
    with pytest.raises(FileNotFoundError):
        fs.mv(f"{place}/missing", f"{place}/f/missing")
    assert not fs.exists(f"{place}/f")
    fs.pipe({f"{place}/g/{name}": b"data" for name in ("1", "2")})
    fs.mv(f"{place}/g/*", f"{place}/h/")
    assert (fs.find(f"{place}/g"), fs.find(f"{place}/h")) == ([], [f"{place}/h/1", f"{place}/h/2"])
    with Arker(ledger=False) as client, client.fork("ubuntu") as other:
        fs.mv(f"{place}/h", f"{other.id}/tmp/h", recursive=True)
        assert other.files.listdir("/tmp/h") == ["1", "2"]
    assert not fs.exists(f"{place}/h")


def test_files_are_moved_copied_and_appended_to(vm: VM) -> None:
    fs, place = fsspec.filesystem("arker"), f"{vm.id}/tmp/moved"
    fs.pipe_file(f"{place}/a", b"a")
    fs.mv(f"{place}/a", f"{place}/b")
    with fs.open(f"{place}/b", "ab") as file:
        assert file.tell() == 1
        file.write(b"b")
        assert file.tell() == 2
    assert fs.cat_file(f"{place}/b") == b"ab"
    assert fs.find(place) == [f"{place}/b"]
    with Arker(ledger=False) as client, client.fork("ubuntu") as other:
        fs.cp_file(f"{place}/b", f"{other.id}/tmp/copied")
        assert other.files.read_text("/tmp/copied") == "ab"


def test_the_times_of_a_file_are_set(vm: VM) -> None:
    fs, path = fsspec.filesystem("arker"), f"{vm.id}/tmp/touched/file"
    fs.touch(path, truncate=False)
    vm.run("echo data > /tmp/touched/file; touch -d 2001-01-01 /tmp/touched/file")
    before = fs.modified(path)
    fs.touch(path, truncate=False)
    assert fs.modified(path) > before
    assert fs.cat_file(path) == b"data\n"
    fs.touch(path)
    assert fs.size(path) == 0


def test_what_is_in_a_directory_that_goes_too_is_removed_once(vm: VM) -> None:
    fs, place = fsspec.filesystem("arker"), f"{vm.id}/tmp/removed"
    fs.pipe({f"{place}/{path}": b"data" for path in ("a/b/c", "a/d", "ab")})
    fs.rm([f"{place}/a", f"{place}/a/b"], recursive=True)
    assert fs.find(place) == [f"{place}/ab"]
    fs.pipe_file(f"{place}/e/f/g", b"data")
    fs.rm(f"{place}/**", recursive=True)
    assert not fs.find(place, withdirs=True)


def test_a_download_tells_its_size(vm: VM, tmp_path: Path) -> None:
    fs, callback = fsspec.filesystem("arker"), Callback()
    fs.pipe_file(f"{vm.id}/tmp/told", b"data")
    fs.get_file(f"{vm.id}/tmp/told", str(tmp_path / "told"), callback=callback)
    assert (callback.size, callback.value) == (4, 4)


def test_files_are_copied_to_one_target_at_once(vm: VM) -> None:
    fs, place = fsspec.filesystem("arker"), f"{vm.id}/tmp/same"
    for number in range(8):
        fs.pipe_file(f"{place}/{number}/file", b"data")
    for turn in range(3):
        fs.cp([f"{place}/{number}/file" for number in range(8)], [f"{place}/copy{turn}"] * 8)
        assert fs.cat_file(f"{place}/copy{turn}") == b"data"


def test_a_name_is_that_of_the_vm_that_has_it_now(vm: VM) -> None:
    fs = fsspec.filesystem("arker")
    with Arker(ledger=False) as client:
        for turn in range(2):
            with client.fork("ubuntu", name="again") as named:
                named.files.write_text("/tmp/turn", str(turn))
                assert fs.cat_file("again/tmp/turn") == str(turn).encode()
        assert not fs.exists("again/tmp/turn")


def test_a_transaction_that_fails_writes_nothing(vm: VM) -> None:
    fs, place = ArkerFileSystem(skip_instance_cache=True), f"{vm.id}/tmp/transaction"

    def fail() -> None:
        with fs.transaction:
            with fs.open(f"{place}/a", "wb") as file:
                file.write(b"a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not fs.exists(f"{place}/a")
    with fs.transaction, fs.open(f"{place}/a", "wb") as file:
        file.write(b"a")
    assert fs.cat_file(f"{place}/a") == b"a"


def test_a_transaction_has_files_that_were_not_closed(vm: VM) -> None:
    fs, path = ArkerFileSystem(skip_instance_cache=True), f"{vm.id}/tmp/transaction/left"
    with fs.transaction:
        file = fs.open(path, "wb")
        file.write(b"data")
    assert fs.cat_file(path) == b"data"
    assert file.closed


LEFT = """
import fsspec
fs = fsspec.filesystem("arker")
file = fs.open("{path}", "{mode}")
print(file.read() if file.readable() else file.write({data}))
"""


@pytest.mark.parametrize(("mode", "data"), [("rb", ""), ("r", ""), ("wb", 'b"new"'), ("w", '"new"')])
def test_a_program_ends_with_files_that_it_has_left_open(vm: VM, mode: str, data: str) -> None:
    vm.files.write_text("/tmp/left", "old")
    program = LEFT.format(path=f"{vm.id}/tmp/left", mode=mode, data=data)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert ("was not closed before the end of the program" in done.stderr) == bool(data)
    assert "Traceback" not in done.stderr
    assert vm.files.read_text("/tmp/left") == "old"


def test_the_garbage_collector_may_run_in_the_event_loop(vm: VM, monkeypatch: pytest.MonkeyPatch) -> None:
    fs, path = fsspec.filesystem("arker"), f"{vm.id}/tmp/garbage"
    fs.pipe_file(path, b"data")
    problems: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", problems.append)
    files = [fs.open(path), fs.open(f"{path}-written", "wb")]
    files[1].write(b"data")

    async def drop() -> None:
        files.clear()
        gc.collect()
        await asyncio.gather(*_fsspec_files._ending)

    fsspec.asyn.sync(fs.loop, drop)
    assert not problems
    assert fs.cat_file(f"{path}-written") == b"data"


def test_each_client_has_its_filesystem(vm: VM) -> None:
    for turn in range(2):
        with Arker(ledger=False) as client:
            vm.files.write_text("/tmp/client.csv", f"number\n{turn}\n")
            options = {"client": client}
            table = pandas.read_csv(f"arker://{vm.id}/tmp/client.csv", storage_options=options)
            assert list(table["number"]) == [turn]
            assert ArkerFileSystem.of(client).exists(f"{vm.id}/tmp/client.csv")


def test_files_for_coroutines(vm: VM) -> None:
    async def main() -> None:
        async with AsyncArker(ledger=False) as client:
            fs, path = ArkerFileSystem(client=client, asynchronous=True), f"arker://{vm.id}/tmp/streamed"
            async with await fs.open_async(path, "wb", block_size=4) as file:
                assert await file.write(b"a line") == 6
                await file.write(b"\n")
            async with await fs.open_async(path, "ab") as file:
                await file.write(b"more")
                assert file.tell() == 11
            async with await fs.open_async(path) as file:
                assert (await file.read(2), await file.read()) == (b"a ", b"line\nmore")
                file.seek(-4, 2)
                assert await file.read(100) == b"more"
            with pytest.raises(FileNotFoundError):
                await fs.open_async(f"{path}-missing")

    asyncio.run(main())


def test_coroutines_use_the_caller_s_client(vm: VM) -> None:
    async def main() -> None:
        async with AsyncArker(ledger=False) as client:
            fs = ArkerFileSystem.of(client, asynchronous=True)
            files: AsyncVM = await client.get_vm(vm.id)
            await files.files.write_text("/tmp/async", "hello")
            assert await fs._cat_file(f"{vm.id}/tmp/async", 1, 3) == b"el"
            names = {f"{vm.id}/tmp/many/{number}": b"%d" % number for number in range(20)}
            await fs._pipe(names)
            assert await fs._cat(f"{vm.id}/tmp/many/*") == names

    asyncio.run(main())


def test_the_page_s_programs_run(vm: VM, tmp_path: Path) -> None:
    before = count_vms()
    assert run_page("fsspec", tmp_path)
    assert count_vms() == before
