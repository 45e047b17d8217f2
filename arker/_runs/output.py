"""The output of a run as it comes: each byte once and in order, although each reading returns the whole run."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import define, field, frozen

from arker._runs.poll import Planner, Question
from arker._tasks import clock
from arker.errors import DeadlineExceededError, OutputChangedError
from arker.items import AsyncItems, SteppedItems

if TYPE_CHECKING:
    from arker._transport.attempts import Progress
    from arker.models import Run

logger = logging.getLogger("arker")

OutputStream: TypeAlias = Literal["stdout", "stderr"]

CHUNK: Final = 1024 * 1024
"""The most bytes of a chunk."""
_SAMPLE: Final = 64 * 1024
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}".encode()


@frozen
class OutputChunk:
    """A piece of a run's output.

    Attributes:
        stream: ``stdout`` or ``stderr``.
        data: The bytes, 1 MiB at most; a character may begin in one chunk and end in the next.
    """

    stream: OutputStream
    data: bytes


@frozen
class OutputLine:
    r"""A line of a run's output.

    Attributes:
        stream: ``stdout`` or ``stderr``.
        text: The line without its ``\n``: decoded as UTF-8, with invalid bytes shown as U+FFFD.
        terminated: Whether the ``\n`` was there; only the last line of each stream may lack it.
    """

    stream: OutputStream
    text: str
    terminated: bool = True


class RunOutput(SteppedItems[OutputChunk]):
    """The chunks of one run's output. It holds only bytes that were read and not handed out yet."""

    def __init__(
        self,
        has_ended: Callable[[], Awaitable[bool]],
        read: Callable[[], Awaitable[tuple[Run, bool]]],
        planner: Planner,
        progress: Progress,
        deadline: float | None,
    ) -> None:
        """Make the output of a run.

        Args:
            has_ended: Asks whether the run has ended, by a small request.
            read: Reads the run, and returns whether it has ended.
            planner: Decides which request comes next, and when.
            progress: The state that a deadline error reports.
            deadline: Seconds for all of it.
        """
        super().__init__()
        self._has_ended = has_ended
        self._read = read
        self._planner = planner
        self._progress = progress
        self._deadline = deadline
        self._until: float | None = None
        self._positions = (_Position("stdout"), _Position("stderr"))
        self._found: deque[tuple[OutputStream, memoryview]] = deque()

    def _take(self) -> OutputChunk:
        stream, view = self._found.popleft()
        if len(view) > CHUNK:
            self._found.appendleft((stream, view[CHUNK:]))
        return OutputChunk(stream, bytes(view[:CHUNK]))

    async def _step(self) -> None:
        if self._deadline is None:
            await self._ask()
            return
        now = clock.now()
        if self._until is None:
            self._until = now + self._deadline
        with clock.move_on_after(max(0.0, self._until - now)) as scope:
            await self._ask()
        if scope.cancelled_caught:
            raise self._progress.complete(
                DeadlineExceededError(f"the deadline of {self._deadline:g} s has passed; the run goes on")
            )

    async def _ask(self) -> None:
        due, question = self._planner.next()
        await clock.sleep(max(0.0, due - clock.now()))
        if question is Question.ENDED:
            ended = await self._has_ended()
            self._planner.asked(clock.now(), ended=ended)
            return
        run, ended = await self._read()
        outputs = ((run.stdout, run.stdout_encoding), (run.stderr, run.stderr_encoding))
        # Both before either is handed out: after an error, nothing must be missing.
        for position, (data, encoding) in zip(self._positions, outputs, strict=True):
            position.compare(data if ended else _settled(data, encoding), run, self._progress)
        for position, (data, encoding) in zip(self._positions, outputs, strict=True):
            fresh = position.advance(data if ended else _settled(data, encoding))
            if fresh:
                self._found.append((position.stream, fresh))
        size = len(run.stdout) + len(run.stderr)
        cost = sum(_wire_size(data, encoding) for data, encoding in outputs)
        self._planner.read(clock.now(), size=size, cost=cost)
        if ended:
            self._over = True
            if run.state == "completed" and run.fail_reason is not None:
                reason = self._progress.redact(run.fail_reason)
                logger.warning("the output of the run %s is not whole: %s", self._progress.redact(run.run_id), reason)


@define(eq=False)
class _Position:
    """The length of the part of a stream that was handed out, with its digest instead of the bytes."""

    stream: OutputStream
    size: int = 0
    _digest: bytes | None = None
    _hash: blake2b | None = field(default=None, init=False)

    def compare(self, data: bytes, run: Run, progress: Progress) -> None:
        """Raise `OutputChangedError` unless the stream begins with the bytes that were handed out."""
        self._hash = blake2b(memoryview(data)[: self.size])
        if len(data) >= self.size and self._digest in (None, self._hash.digest()):
            return
        what = "has become shorter" if len(data) < self.size else "is not the same any more"
        why = f"; the platform has taken up the run {run.retry_count} times" if run.retry_count else ""
        if run.state == "failed" and run.fail_reason is not None:
            # What the server had of its output may have gone with what it failed by.
            why += f"; the run has failed: {progress.redact(run.fail_reason)}"
        raise progress.complete(
            OutputChangedError(
                f"the run's {self.stream}, of which {self.size} bytes were handed out, {what}{why}",
                stream=self.stream,
                handed_out=self.size,
            )
        )

    def advance(self, data: bytes) -> memoryview:
        """Return the new bytes, and count them as handed out."""
        assert self._hash is not None
        fresh = memoryview(data)[self.size :]
        self._hash.update(fresh)
        self._digest, self._hash = self._hash.digest(), None
        self.size = len(data)
        return fresh


def _settled(data: bytes, encoding: str) -> bytes:
    """Return the part of an output that will not change. An incomplete character may be shown as U+FFFD meanwhile."""
    if encoding != "base64":
        for _ in range(3):
            data = data.removesuffix(_REPLACEMENT)
    return data


def _wire_size(data: bytes, encoding: str) -> float:
    """Estimate how many bytes of a reply an output takes."""
    if encoding == "base64":
        return len(data) * 4 / 3
    sample = data[-_SAMPLE:]
    escaped = sum(sample.count(char) for char in (b"\n", b'"', b"\\", b"\t", b"\r")) + 5 * sample.count(b"\x1b")
    return len(data) * (1 + escaped / len(sample)) if sample else 0.0


class RunLines(AsyncItems[OutputLine]):
    """The lines of one run's output."""

    def __init__(self, chunks: AsyncItems[OutputChunk]) -> None:
        self._chunks = chunks
        self._lines: deque[OutputLine] = deque()
        self._begun: dict[OutputStream, list[bytes]] = {"stdout": [], "stderr": []}

    async def __anext__(self) -> OutputLine:
        while not self._lines:
            try:
                chunk = await self._chunks.__anext__()
            except StopAsyncIteration:
                if not self._finish():
                    raise
            else:
                self._take(chunk)
        return self._lines.popleft()

    def _at_hand(self) -> list[OutputLine]:
        lines = [*self._lines]
        self._lines.clear()
        return lines

    async def aclose(self) -> None:
        self._drop()
        await self._chunks.aclose()
        self._drop()

    def _drop(self) -> None:
        self._lines.clear()
        for begun in self._begun.values():
            begun.clear()

    def _take(self, chunk: OutputChunk) -> None:
        # No byte of a character of several is a "\n" in UTF-8, so whole lines are decoded, and no decoder is needed.
        *whole, rest = chunk.data.split(b"\n")
        begun = self._begun[chunk.stream]
        for line in whole:
            begun.append(line)
            self._lines.append(OutputLine(chunk.stream, b"".join(begun).decode("utf-8", "replace")))
            begun.clear()
        if rest:
            begun.append(rest)

    def _finish(self) -> bool:
        """Hand out the unterminated lines, and return whether there are any."""
        for stream, begun in self._begun.items():
            if begun:
                self._lines.append(OutputLine(stream, b"".join(begun).decode("utf-8", "replace"), terminated=False))
                begun.clear()
        return bool(self._lines)


__all__ = ["OutputChunk", "OutputLine", "OutputStream", "RunLines", "RunOutput"]
