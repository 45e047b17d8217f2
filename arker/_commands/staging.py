"""A file that is put into a VM for one command to read, and removed afterwards."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from arker import _files as files
from arker._lifecycle.sdk_session import run_in_own_session
from arker._tasks import clock, hurry
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up, end
from arker._tasks.running_loop import running_loop
from arker.errors import ArkerError
from arker.errors.api import is_gone

if TYPE_CHECKING:
    from arker._context import Place
    from arker.transfer import UploadSource

logger = logging.getLogger("arker")

_LAST_WAIT: Final = CLEANUP_SECONDS / 2
"""Seconds that an upload in progress has to end when its caller is cancelled: a request that was sent may arrive."""


class StagedFile:
    """A file in the VM.

    Attributes:
        path: Its path.
    """

    def __init__(self, place: Place, path: str) -> None:
        self._place = place
        self.path = path
        self._there = False

    async def put(self, source: UploadSource) -> None:
        """Upload the file. If that fails or the caller is cancelled, it is removed."""
        self._there = True
        uploading = running_loop().create_task(self._upload(source))
        try:
            await asyncio.shield(uploading)
        except asyncio.CancelledError:
            await clean_up(self._withdraw(uploading))
            raise
        except BaseException:
            await self.remove()
            raise

    async def _upload(self, source: UploadSource) -> None:
        try:
            await files.uploads.upload(
                self._place,
                source,
                self.path,
                strategy="auto",
                concurrency=None,
                part_size=None,
                verify="size",
                checksum=True,
                mode=None,
                progress=None,
                deadline=None,
            )
        except ArkerError as error:
            raise error.with_context(operation="vm.run") from None

    async def _withdraw(self, uploading: asyncio.Task[None]) -> None:
        await clock.wait({uploading}, hurry.bound(_LAST_WAIT))
        await end(uploading)
        await self._remove()

    def expect(self) -> None:
        """Note that the file may come to be in another way."""
        self._there = True

    def forget(self) -> None:
        """Note that the command removes the file."""
        self._there = False

    async def remove(self) -> None:
        """Remove the file, unless it has gone. That is done also while the caller is being cancelled."""
        if self._there:
            await clean_up(self._remove())

    async def _remove(self) -> None:
        self._there = False
        place = self._place
        problem: object = f"not done within {CLEANUP_SECONDS:g} s"
        with place.context.cleaning_up(), clock.move_on_after(hurry.bound(CLEANUP_SECONDS)):
            try:
                result = await run_in_own_session(place, ["rm", "-rf", "--", self.path])
                if result.exit_code == 0:
                    return
                problem = result.stderr_text.strip()
            except ArkerError as error:
                if is_gone(error):
                    return  # the VM has gone, and its files with it
                problem = error
            except asyncio.CancelledError:
                if not hurry.asked():
                    raise
        if hurry.asked():
            hurry.left_behind(f"the file {self.path} in VM {place.redact(place.vm_id)}")
        else:
            logger.warning("a file may be left in VM %s as %s: %s", place.redact(place.vm_id), self.path, problem)


__all__ = ["StagedFile"]
