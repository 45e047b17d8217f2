"""Setting faults from a test."""

from __future__ import annotations

from typing import TypedDict

from arker._basics.typing import Unpack
from arker.emulator.control.fault import Channel, Fault
from arker.emulator.control.rules import (
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


class _Conditions(TypedDict, total=False):
    method: str | None
    path: str | None
    times: int | None
    share: float | None
    seed: int | None
    skip: int


class Conditions(_Conditions, total=False):
    """The conditions of a fault: which requests it is for; see `Faults`."""

    operation: Operations | None


class PresignedConditions(_Conditions, total=False):
    """The conditions of a fault of presigned URLs."""

    operation: PresignedOperations | None


class Faults:
    """The faults of a backend.

    Every method that sets one takes the same conditions, all of which have to hold, and the same times:

    Args:
        operation: Name of an operation, or several, as in the OpenAPI document, or ``presigned_put`` and
            ``presigned_get``; None is any.
        method: HTTP method; None is any.
        path: Pattern of the path below the base URL: ``*`` stands for any characters but ``/``, ``**`` for any, ``?``
            for one; None is any. Presigned URLs have ``/presigned/*``.
        times: How many of the next matching requests it fires for; None is no limit.
        share: Instead of ``times``: the probability that it fires for a matching request.
        seed: The seed of the draws for ``share``: the same seed gives the same draws. None is a random one, which the
            fault's ``rule.seed`` shows.
        skip: How many matching requests it skips first.

    Raises:
        InvalidArgumentError: An argument is invalid; nothing was sent.
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
        **conditions: Unpack[Conditions],
    ) -> Fault:
        """Answer with an error.

        See `Faults` for the conditions.

        Args:
            status: HTTP status, 200 to 599.
            code: The error's code; None is the default code of the status.
            message: The error's message; None is a default text which says that a fault was set.
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
                **conditions,
            )
        )

    def delay(
        self,
        *,
        seconds: float,
        processed: bool = False,
        **conditions: Unpack[Conditions],
    ) -> Fault:
        """Delay requests or replies. Can be combined with other faults.

        See `Faults` for the conditions.

        Args:
            seconds: How much longer.
            processed: Whether the reply is delayed; otherwise the request is delayed before it is carried out.
        """
        return self._set(
            DelayRule(
                seconds=seconds,
                processed=processed,
                **conditions,
            )
        )

    def garbage(
        self,
        *,
        body: str = GARBAGE,
        status: int | None = None,
        processed: bool = True,
        **conditions: Unpack[Conditions],
    ) -> Fault:
        """Answer with a body that is not JSON.

        See `Faults` for the conditions.

        Args:
            body: What is sent instead of the reply's body; an HTML page by default.
            status: HTTP status; None is the reply's own.
            processed: Whether the request is carried out first.
        """
        return self._set(
            GarbageRule(
                body=body,
                status=status,
                processed=processed,
                **conditions,
            )
        )

    def close(
        self,
        *,
        moment: Moment = "before",
        seconds: float = 0.0,
        reset: bool = False,
        **conditions: Unpack[Conditions],
    ) -> Fault:
        """End the connection without a reply.

        See `Faults` for the conditions.

        Args:
            moment: ``before`` the request is carried out, and it never is; ``during`` its work, which continues;
                ``after`` it.
            seconds: For ``during``: how long after the start of the work; at its end, if that comes first.
            reset: Whether the connection ends with a reset (RST), not with an ordinary end (FIN).
        """
        return self._set(
            CloseRule(
                moment=moment,
                seconds=seconds,
                reset=reset,
                **conditions,
            )
        )

    def truncate(
        self,
        *,
        fraction: float = 0.5,
        **conditions: Unpack[Conditions],
    ) -> Fault:
        """End the connection in the middle of the reply's body, or of a presigned PUT's body.

        See `Faults` for the conditions.

        Args:
            fraction: How much of the body is sent, from 0 to below 1. ``Content-Length`` is that of the whole body.
        """
        return self._set(
            TruncateRule(
                fraction=fraction,
                **conditions,
            )
        )

    def stall(
        self,
        *,
        processed: bool = False,
        **conditions: Unpack[Conditions],
    ) -> Fault:
        """Keep the connection open and never reply. It ends when the client disconnects or the backend ends.

        See `Faults` for the conditions.

        Args:
            processed: Whether the request is carried out first.
        """
        return self._set(
            StallRule(
                processed=processed,
                **conditions,
            )
        )

    def expire(
        self,
        **conditions: Unpack[PresignedConditions],
    ) -> Fault:
        """Answer a presigned URL as if it had expired.

        See `Faults` for the conditions.
        """
        return self._set(
            ExpireRule(
                **conditions,
            )
        )

    def throttle(
        self,
        *,
        bytes_per_second: float,
        **conditions: Unpack[PresignedConditions],
    ) -> Fault:
        """Limit the transfer rate of presigned URLs. Can be combined with other faults.

        See `Faults` for the conditions.

        Args:
            bytes_per_second: For each connection, in both directions.
        """
        return self._set(
            ThrottleRule(
                bytes_per_second=bytes_per_second,
                **conditions,
            )
        )

    def list(self) -> tuple[Fault, ...]:
        """List the faults that are set, in the order in which they were added."""
        return tuple(Fault(self._channel, members) for members in self._channel.call("GET", "faults")["faults"])

    def clear(self) -> int:
        """Remove all faults. Returns how many there were."""
        return int(self._channel.call("DELETE", "faults")["removed"])


__all__ = ["Faults"]
