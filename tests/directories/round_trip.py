"""A directory goes into a VM and comes back; then another takes its place, on both sides."""

from __future__ import annotations

from pathlib import Path

from arker import AsyncVM
from tests.directories.support import Model, build, changes, look, remove


async def round_trip(vm: AsyncVM, place: Path, first: Model, second: Model) -> None:
    """Fails unless what came back equals what went."""
    local, back = place / "local", place / "back"
    remote = "a place/-for 'it"
    try:
        for model in (first, second):
            remove(local)
            build(local, model)
            assert look(local) == model
            assert (await vm.upload_dir(local, remote, delete=True)).failures == ()
            assert changes(await vm.upload_dir(local, remote, delete=True, dry_run=True)) == []
            fetched = await vm.download_dir(remote, back, delete=True, symlinks="all")
            assert fetched.failures == ()
            assert look(back) == model
        listed = await vm.run("ls -A", check=True)
        assert listed.stdout_text.split("\n") == ["a place", ""]
    finally:
        remove(local)
        remove(back)
        await vm.run("chmod -R u+rwx 'a place'; rm -rf 'a place'", check=True)
