"""Setting faults from a test."""

from __future__ import annotations

from arker.emulator.fault import Channel, Fault
from arker.emulator.rules import (
    GARBAGE,
    CloseRule,
    DelayRule,
    ErrorRule,
    ExpireRule,
    GarbageRule,
    Moment,
    Operations,
    PresignedOperations,
    Rule,
    StallRule,
    ThrottleRule,
    TruncateRule,
    rule_json,
)


class Faults:
    """Sets faults of a backend.

    Every method that sets one takes the same conditions, all of which have to hold, and the same times:

    Args:
        operation: Name of an operation, or several, as in the OpenAPI document, or ``presigned_put`` and
            ``presigned_get``; None is any.
        method: HTTP method; None is any.
        path: Pattern of the path below the base URL: ``*`` stands for any characters but ``/``, ``**`` for any, ``?``
            for one; None is any. Presigned URLs have ``/presigned/*``.
        times: How many matching requests it fires for, the next ones; None is without end.
        share: Instead of ``times``: the probability that it fires for a matching request.
        seed: Where the draws for ``share`` begin: the same seed gives the same draws. Random when None, and then told
            by the fault's ``rule.seed``.
        skip: How many matching requests are spared first.

    Raises:
        InvalidArgumentError: An argument is not what it should be; nothing was sent.
        EmulatorError: The backend does not answer.

    Example::

        with emulator.faults.error(operation="run", status=503) as fault:
            await vm.run("true")  # sent again by the client
        assert fault.fired == 1
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __repr__(self) -> str:
        return f"<Faults of {self.url}>"

    @property
    def url(self) -> str:
        """The backend's base URL."""
        return self._channel.url

    def _set(self, rule: Rule) -> Fault:
        return Fault(self._channel, self._channel.call("POST", "faults", rule_json(rule)))

    def error(
        self,
        *,
        status: int = 503,
        code: str | None = None,
        message: str | None = None,
        retry_after: float | str | None = None,
        processed: bool = False,
        operation: Operations | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = 1,
        share: float | None = None,
        seed: int | None = None,
        skip: int = 0,
    ) -> Fault:
        """Answer with an error.

        For ``operation`` to ``skip`` see `Faults`.

        Args:
            status: HTTP status, 200 to 599.
            code: The error's code; None is the one that belongs to the status.
            message: The error's message; None is a text that says that a fault was set.
            retry_after: Seconds, or a date as HTTP writes it, for the header ``Retry-After``.
            processed: Whether the request is carried out first.
        """
        return self._set(
            ErrorRule(
                status=status,
                code=code,
                message=message,
                retry_after=retry_after,
                processed=processed,
                operation=operation,
                method=method,
                path=path,
                times=times,
                share=share,
                seed=seed,
                skip=skip,
            )
        )

    def delay(
        self,
        *,
        seconds: float,
        processed: bool = False,
        operation: Operations | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = 1,
        share: float | None = None,
        seed: int | None = None,
        skip: int = 0,
    ) -> Fault:
        """Let it take longer. It goes together with other faults.

        For ``operation`` to ``skip`` see `Faults`.

        Args:
            seconds: How much longer.
            processed: Whether it is the reply that is held back; otherwise the request waits before it is carried out.
        """
        return self._set(
            DelayRule(
                seconds=seconds,
                processed=processed,
                operation=operation,
                method=method,
                path=path,
                times=times,
                share=share,
                seed=seed,
                skip=skip,
            )
        )

    def garbage(
        self,
        *,
        body: str = GARBAGE,
        status: int | None = None,
        processed: bool = True,
        operation: Operations | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = 1,
        share: float | None = None,
        seed: int | None = None,
        skip: int = 0,
    ) -> Fault:
        """Answer with a body that is no JSON.

        For ``operation`` to ``skip`` see `Faults`.

        Args:
            body: What is sent instead of the reply's body; an HTML page by default.
            status: HTTP status; None is the one that the reply has anyway.
            processed: Whether the request is carried out first.
        """
        return self._set(
            GarbageRule(
                body=body,
                status=status,
                processed=processed,
                operation=operation,
                method=method,
                path=path,
                times=times,
                share=share,
                seed=seed,
                skip=skip,
            )
        )

    def close(
        self,
        *,
        moment: Moment = "before",
        seconds: float = 0.0,
        reset: bool = False,
        operation: Operations | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = 1,
        share: float | None = None,
        seed: int | None = None,
        skip: int = 0,
    ) -> Fault:
        """End the connection without a reply.

        For ``operation`` to ``skip`` see `Faults`.

        Args:
            moment: ``before`` the request is carried out, which it then is not; ``during`` it, and the work goes on;
                ``after`` it.
            seconds: For ``during``: how long after the work has begun; if the work is done sooner, then.
            reset: Whether the connection ends with a reset (RST), not with an ordinary end (FIN).
        """
        return self._set(
            CloseRule(
                moment=moment,
                seconds=seconds,
                reset=reset,
                operation=operation,
                method=method,
                path=path,
                times=times,
                share=share,
                seed=seed,
                skip=skip,
            )
        )

    def truncate(
        self,
        *,
        fraction: float = 0.5,
        operation: Operations | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = 1,
        share: float | None = None,
        seed: int | None = None,
        skip: int = 0,
    ) -> Fault:
        """End the connection amid the reply's body, or amid the body of a presigned PUT.

        For ``operation`` to ``skip`` see `Faults`.

        Args:
            fraction: How much of the body passes, from 0 to below 1; ``Content-Length`` tells of the whole.
        """
        return self._set(
            TruncateRule(
                fraction=fraction,
                operation=operation,
                method=method,
                path=path,
                times=times,
                share=share,
                seed=seed,
                skip=skip,
            )
        )

    def stall(
        self,
        *,
        processed: bool = False,
        operation: Operations | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = 1,
        share: float | None = None,
        seed: int | None = None,
        skip: int = 0,
    ) -> Fault:
        """Let the connection stay open, and never reply. It ends when the client goes or the backend ends.

        For ``operation`` to ``skip`` see `Faults`.

        Args:
            processed: Whether the request is carried out first.
        """
        return self._set(
            StallRule(
                processed=processed,
                operation=operation,
                method=method,
                path=path,
                times=times,
                share=share,
                seed=seed,
                skip=skip,
            )
        )

    def expire(
        self,
        *,
        operation: PresignedOperations | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = 1,
        share: float | None = None,
        seed: int | None = None,
        skip: int = 0,
    ) -> Fault:
        """Answer a presigned URL as an expired one.

        For ``operation`` to ``skip`` see `Faults`.
        """
        return self._set(
            ExpireRule(
                operation=operation,
                method=method,
                path=path,
                times=times,
                share=share,
                seed=seed,
                skip=skip,
            )
        )

    def throttle(
        self,
        *,
        bytes_per_second: float,
        operation: PresignedOperations | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = 1,
        share: float | None = None,
        seed: int | None = None,
        skip: int = 0,
    ) -> Fault:
        """Let the bytes of presigned URLs pass slowly. It goes together with other faults.

        For ``operation`` to ``skip`` see `Faults`.

        Args:
            bytes_per_second: For each connection, in both directions.
        """
        return self._set(
            ThrottleRule(
                bytes_per_second=bytes_per_second,
                operation=operation,
                method=method,
                path=path,
                times=times,
                share=share,
                seed=seed,
                skip=skip,
            )
        )

    def list(self) -> tuple[Fault, ...]:
        """The faults that are set, in the order in which they were added."""
        return tuple(Fault(self._channel, members) for members in self._channel.call("GET", "faults")["faults"])

    def clear(self) -> int:
        """Take all faults away; how many there were comes back."""
        return int(self._channel.call("DELETE", "faults")["removed"])


__all__ = ["Faults"]
