"""Move a directory tree and a large file into a VM and back, with a progress bar.

With an API key in ``ARKER_API_KEY`` (and a region in ``ARKER_REGION``) this runs in the cloud; without one, on the
embedded backend, which needs no account and no network. The bar is drawn on standard error.

    python examples/transfer_directory.py
    python examples/transfer_directory.py --size-mib 64
"""

from __future__ import annotations

import argparse
import asyncio
import filecmp
import os
import tempfile
from pathlib import Path

from arker import ArkerError, AsyncArker, AsyncVM, DirectoryReport
from arker.progress import TransferBar

MIB = 1024 * 1024


def make_tree(root: Path) -> None:
    """Create a small project: sources, data, a link, an empty directory, and files that are not worth copying."""
    for number in range(200):
        path = root / "data" / f"{number % 10}" / f"record-{number:03}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"number": {number}}}\n')
    (root / "run.sh").write_text("#!/bin/sh\ncat data/*/*.json | wc -l\n")
    (root / "run.sh").chmod(0o755)
    (root / "latest.json").symlink_to("data/9/record-199.json")
    (root / "results").mkdir()
    (root / "cache").mkdir()
    (root / "cache" / "scratch.tmp").write_bytes(bytes(MIB))


def make_file(path: Path, size_mib: int) -> None:
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(size_mib):
            file.write(number.to_bytes(8, "little") + block[8:])


def summary(report: DirectoryReport) -> str:
    return str(report).splitlines()[-1]


async def move_tree(vm: AsyncVM, place: Path, bar: TransferBar) -> None:
    tree, back = place / "tree", place / "back"
    make_tree(tree)

    first = await vm.upload_dir(tree, "tree", ignore=["*.tmp"], progress=bar)
    print("up:        ", summary(first))

    (tree / "data" / "3" / "record-003.json").write_text('{"number": "three"}\n')
    (tree / "data" / "4" / "record-004.json").unlink()
    plan = await vm.upload_dir(tree, "tree", ignore=["*.tmp"], delete=True, dry_run=True)
    print(*(f"planned:    {entry}" for entry in plan.entries if entry.action != "unchanged"), sep="\n")
    again = await vm.upload_dir(tree, "tree", ignore=["*.tmp"], delete=True, progress=bar)
    print("up again:  ", summary(again))

    result = await vm.run("cd tree && ./run.sh > results/lines.txt && readlink latest.json", check=True)
    print("in the VM: ", result.stdout_text.strip())
    down = await vm.download_dir("tree", back, progress=bar)
    print("down:      ", summary(down))
    print("came back: ", (back / "results" / "lines.txt").read_text().strip(), "lines")


async def move_file(vm: AsyncVM, place: Path, size_mib: int, bar: TransferBar) -> None:
    there, back = place / "large.bin", place / "large.back"
    make_file(there, size_mib)
    up = await vm.upload(there, "/tmp/large.bin", progress=bar)
    print(f"up:         {up.size / MIB:,.0f} MiB in {up.seconds:.1f} s")
    down = await vm.download("/tmp/large.bin", back, progress=bar)
    print(f"down:       {down.size / MIB:,.0f} MiB in {down.seconds:.1f} s")
    same = filecmp.cmp(there, back, shallow=False)
    print("the file:  ", "the same bytes" if same else "DIFFERENT BYTES")


async def main(size_mib: int) -> None:
    cloud = bool(os.environ.get("ARKER_API_KEY") or os.environ.get("AUTH_KEY"))
    with tempfile.TemporaryDirectory() as directory, TransferBar() as bar:
        async with AsyncArker() if cloud else AsyncArker.local() as ar, ar.fork("ubuntu") as vm:
            await move_tree(vm, Path(directory), bar)
            await move_file(vm, Path(directory), size_mib, bar)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mib", type=int, default=1024, help="size of the large file (1024)")
    try:
        asyncio.run(main(parser.parse_args().size_mib))
    except ArkerError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
