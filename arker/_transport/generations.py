"""Which generation of the API each server speaks, and the form of a call to send to it."""

from __future__ import annotations

import asyncio
import logging
import weakref
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import evolve

from arker._protocol.calls import service
from arker._protocol.forms import SET_TO_0_5, SET_TO_1, refuses, unsupported
from arker._tasks import clock
from arker._tasks.running_loop import running_loop
from arker._transport.attempts import Progress, deadline_scope
from arker.errors import ApiError, ArkerError

if TYPE_CHECKING:
    from arker._protocol.request import Call, Generation
    from arker._transport.transport import Transport

T = TypeVar("T")

logger = logging.getLogger("arker")

ASK_SECONDS: Final = 10.0
"""How long the answer about a server's health may take."""
_ASK_AGAIN: Final = 60.0
"""Seconds for which an unusable answer stands."""


class Generations:
    """The generations of a client's servers, by their base URLs.

    A generation that was set by hand is that of all servers. Otherwise it is learnt: from a VM that only generation 1
    describes so, from the answer about the server's health, or from the form of a request that the server took.
    """

    def __init__(self, transport: Transport) -> None:
        fixed = transport.settings.generation
        self._transport = transport
        self._fixed: Generation | None = None if fixed == "auto" else fixed
        self._known: dict[str, Generation] = {}
        self._learnt_at: dict[str, float] = {}
        self._unknown_until: dict[str, float] = {}
        self._asking: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = (
            weakref.WeakKeyDictionary()
        )

    def learn(self, base_url: str, generation: Generation) -> None:
        """Note the generation of a server."""
        self._learnt_at[base_url] = clock.now()
        if self._known.get(base_url) != generation:
            self._known[base_url] = generation
            logger.debug("%s speaks generation %s of the API", base_url, generation)

    async def find(self, base_url: str) -> Generation | None:
        """Return the generation of a server. It is asked if that is not known; None if the answer does not tell."""
        return self._fixed or await self._find(base_url)

    async def _find(self, base_url: str) -> Generation | None:
        if base_url in self._known:
            return self._known[base_url]
        locks = self._asking.setdefault(running_loop(), {})
        # Hundreds of calls at once ask only once.
        async with locks.setdefault(base_url, asyncio.Lock()):
            generation = self._known.get(base_url)
            if generation is None and clock.now() >= self._unknown_until.get(base_url, 0.0):
                generation = await self._ask(base_url)
                if generation is None:
                    self._unknown_until[base_url] = clock.now() + _ASK_AGAIN
                else:
                    self.learn(base_url, generation)
        return generation

    async def _find_lately(self, base_url: str) -> Generation | None:
        """Return the generation of a server, as it was within the last minute: it may have been replaced."""
        generation = self._known.get(base_url)
        if generation == "0.5" and clock.now() >= self._learnt_at[base_url] + _ASK_AGAIN:
            del self._known[base_url]
            if await self._find(base_url) is None:
                self.learn(base_url, generation)
        return await self._find(base_url)

    async def _ask(self, base_url: str) -> Generation | None:
        progress = Progress("health", abandoned=True)  # it is not worth a second attempt
        try:
            return await self._transport.send(service.generation(base_url), deadline=ASK_SECONDS, progress=progress)
        except ArkerError as error:
            # A server that cannot be reached is the caller's error, which the call itself raises.
            logger.debug("the generation of %s is unknown: %s", base_url, error)
            return None

    async def _has_changed(self, call: Call[T], known: Generation | None, error: ApiError) -> bool:
        """Return whether a server that has refused a form speaks another generation than the known one by now."""
        base_url = call.request.base_url
        if self._fixed is not None or known is None or call.earlier is None:
            return False
        if not error.from_service or not may_be_of_the_form(error):
            return False
        if base_url not in self._known:
            await self._find(base_url)  # as another refused call does at present
        if self._known.get(base_url) == known:
            # An error that says what became of the request's route is one of generation 1.
            if known == "0.5" and error.matched is not None:
                self.learn(base_url, "1")
            elif known == "1" and error.matched is None and clock.now() >= self._unknown_until.get(base_url, 0.0):
                del self._known[base_url]
                if await self._find(base_url) is None:
                    self.learn(base_url, known)
                self._unknown_until[base_url] = clock.now() + _ASK_AGAIN
        return self._known.get(base_url, known) != known

    async def forms(self, call: Call[T]) -> tuple[Call[T], Call[T] | None]:
        """Return the form of a call to send, and the one to send once if the server refuses the first.

        Raises:
            UnsupportedOperationError: The server's generation lacks what the call needs.
        """
        base_url = call.request.base_url
        lack = call.lack
        if lack is not None:
            generation = self._fixed
            if lack.generation == "0.5" and lack.members:
                # Such a server would ignore the members.
                generation = self._fixed or await self._find_lately(base_url)
            if generation == lack.generation:
                raise unsupported(lack, call.operation)
            return call, None
        if call.earlier is None:
            return call, None
        if self._fixed is not None:
            # Should the setting be wrong, the server's refusal is explained.
            form, lack = (call, SET_TO_1) if self._fixed == "1" else (call.earlier, SET_TO_0_5)
            return evolve(form, lack=lack), None
        generation = await self._find(base_url)
        if generation is None:
            return call, call.earlier
        return (call if generation == "1" else call.earlier), None

    async def confirm(self, call: Call[T]) -> None:
        """Check that a server whose reply shows nothing of generation 1 has not ignored a part of the call.

        Raises:
            UnsupportedOperationError: The server speaks generation 0.5.
        """
        if call.lack is None or call.lack.generation == "1":
            return
        if await self._find(call.request.base_url) == "0.5":
            raise unsupported(call.lack, call.operation)

    async def deliver(self, call: Call[T], progress: Progress) -> T:
        """Send one form of a call.

        Raises:
            UnsupportedOperationError: The server refuses what its generation lacks.
        """
        try:
            return await self._transport.send(call, progress=progress)
        except ApiError as error:
            lack = call.lack
            if lack is None or not error.from_service or not may_be_of_the_form(error):
                raise
            if lack.generation == "1":
                is_refusal = refuses(error, lack)
            else:
                # An error that says what became of the request's route is one of generation 1.
                is_refusal = error.matched is None and await self._find(call.request.base_url) == "0.5"
            if not is_refusal:
                raise
            raise self._explained(call, error, progress) from None

    def _explained(self, call: Call[T], error: ApiError, progress: Progress) -> ApiError:
        assert call.lack is not None
        raised = progress.complete(unsupported(call.lack, call.operation))
        raised.details = error.details
        return raised.with_context(
            status=error.status, request_id=error.request_id, from_service=True, matched=error.matched
        )

    async def send(self, call: Call[T], *, deadline: float | None, progress: Progress | None) -> T:
        """Send a call in the form of its server's generation; see `Transport.send`."""
        progress = progress if progress is not None else Progress(call.operation)
        progress.vm_id, progress.run_id, progress.redact = call.vm_id, call.run_id, self._transport.redactor(call)
        with deadline_scope(deadline, progress):
            form, other = await self.forms(call)
            if other is None:
                known = self._known.get(call.request.base_url)
                try:
                    return await self.deliver(form, progress)
                except ApiError as error:
                    if (
                        call.earlier is None
                        or self._fixed is not None
                        or not await self._has_changed(call, known, error)
                    ):
                        raise
                form, _ = await self.forms(call)
                return await self.deliver(form, progress)
            try:
                result = await self.deliver(form, progress)
            except ApiError as error:
                if not may_be_of_the_form(error):
                    raise
                try:
                    result = await self.deliver(other, progress)
                except ApiError:
                    raise error from None  # it is not the form
                self.learn(other.request.base_url, "0.5")
            else:
                self.learn(form.request.base_url, "1")
            return result


def may_be_of_the_form(error: ApiError) -> bool:
    """Return whether a request was refused, without any effect, perhaps because of its form."""
    return error.outcome == "not_started" and error.status in (400, 404, 405, 501)


__all__ = ["Generations", "may_be_of_the_form"]
