"""Programs whose packages lie in an archive, as those of zipapp and of a cluster's workers do."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.surroundings.conftest import PATIENCE, ROOT

PROGRAM = """
import asyncio, sys, tempfile
from pathlib import Path
import arker
from arker import AsyncArker
from arker_sync import Arker

print(arker.__file__.startswith(sys.path[0]))

async def main():
    async with AsyncArker.local() as ar, await ar.fork("ubuntu") as vm:
        print((await vm.run("cat; pwd", input="given", cwd="/tmp", env={"A": "1"})).stdout_text.strip())
        await vm.files.write_text("/tmp/file", "text")
        print(await vm.files.listdir("/tmp"))

asyncio.run(main())
with tempfile.TemporaryDirectory() as directory, Arker.local() as ar, ar.fork("ubuntu") as vm:
    Path(directory, "file").write_text("text")
    print(vm.upload_dir(directory, "/srv/in").counts["create"])
"""


def test_all_is_found_in_an_archive(tmp_path: Path) -> None:
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as packages:
        for package in ("arker", "arker_sync"):
            for file in sorted((ROOT / package).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    packages.write(file, file.relative_to(ROOT))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path[:0] = [{str(archive)!r}]{PROGRAM}"],
        env={name: value for name, value in os.environ.items() if not name.startswith("ARKER_")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout.splitlines() == ["True", "given/tmp", "['file']", "1"], done.stderr
