"""Programs on paths: run in a session of the SDK's own, with its tools, and their reports as errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from arker._basics.programs import shell_program
from arker._context import Place
from arker._files.refusals import path_command, refusal_of
from arker._lifecycle.own_sessions import own_sessions
from arker._transport.attempts import DeadlineScope, Progress, deadline_scope
from arker.errors import ArkerError, BadReplyError, RunFailedError

if TYPE_CHECKING:
    from arker.models import CompletedRunResult

E = TypeVar("E", bound=ArkerError)

_TOOLS: Final = shell_program(__package__, "tools.sh")
LINK: Final = shell_program(__package__, "link.sh")
_SPOOL: Final = shell_program(__package__, "spool.sh")


def program(text: str, *, spools: bool = False, links: bool = False) -> str:
    """Return a program on paths with the functions that it uses."""
    return (_SPOOL if spools else "") + (LINK if links else "") + text


class PathShell:
    """One operation on the paths of a VM.

    Attributes:
        place: The VM.
        operation: The operation's name, such as ``vm.files.stat``.
        progress: The state of the operation.
    """

    def __init__(self, place: Place, operation: str) -> None:
        self.place = place
        self.operation = f"vm.files.{operation}"
        self.progress = Progress(self.operation, vm_id=place.vm_id, redact=place.redact)

    def within(self, deadline: float | None) -> DeadlineScope:
        """Limit the time of the operation, in seconds."""
        return deadline_scope(deadline, self.progress)

    async def run(self, text: str, words: Sequence[str], paths: Sequence[str]) -> CompletedRunResult:
        """Run a program that changes nothing, and return its result.

        Args:
            text: The program.
            words: Its arguments.
            paths: The caller's paths, which the numbers in its report stand for.

        Raises:
            RemoteFileError: The program reports why a path cannot be used.
        """
        try:
            result = await own_sessions(self.place).run(path_command(text, words))
        except ArkerError as error:
            raise error.with_context(operation=self.operation, file=self._shown(paths[0])) from None
        told = self._error_of(result, paths)
        if told is None:
            return result
        try:
            raise told
        finally:
            del told  # its traceback has this frame

    def _error_of(self, result: CompletedRunResult, paths: Sequence[str]) -> ArkerError | None:
        """Return the error that a program's result tells of."""
        refusal = refusal_of(result, [self._shown(path) for path in paths], self.place.redact)
        if refusal is not None:
            return self._named(refusal)
        if result.exit_code == 0 and result.state == "completed":
            return None
        # No program on paths ends like this unless its VM or its shell ends it.
        failed = self._named(RunFailedError(result))
        failed.message = self.place.redact(failed.message)
        return failed.with_context(outcome="unknown", file=self._shown(paths[0]))

    async def change(self, text: str, words: Sequence[str], paths: Sequence[str]) -> CompletedRunResult:
        """Run a program that changes something, as `run` does."""
        self.progress.in_flight = True
        try:
            return await self.run(text, words, paths)
        except ArkerError:
            self.progress.in_flight = False
            raise

    async def tools(self) -> frozenset[str]:
        """Return which tools the VM has; they are looked for once."""
        own = own_sessions(self.place)
        if own.tools is None:
            try:
                result = await own.run(["sh", "-c", _TOOLS, "sh"])
            except ArkerError as error:
                raise error.with_context(operation=self.operation) from None
            own.tools = frozenset(result.stdout_text.split())
        return own.tools

    async def lister(self) -> str:
        """Return the tool that tells of paths: ``find`` of GNU, ``stat`` of coreutils or busybox, or POSIX's ``ls``."""
        tools = await self.tools()
        return next((tool for tool in ("find", "stat") if tool in tools), "ls")

    def _named(self, error: E) -> E:
        error.operation = self.operation
        error.vm_id = error.vm_id or self.place.redact(self.place.vm_id)
        return error

    def _shown(self, path: str) -> str:
        return self.place.redact(path.removeprefix("./") or path)

    def wrong(self, problem: str) -> BadReplyError:
        """Return the error for an output that is not what was asked for. It is not quoted: it may hold a secret."""
        return self._named(BadReplyError(f"the VM's report is not what was asked for: {problem}", path="$.stdout"))


__all__ = ["LINK", "PathShell", "program"]
