"""Secrets that can be recognised anywhere, and a detector that watches the whole suite for them.

Every secret that the tests use carries `MARK`, which no source text contains in one piece. What is watched: all log
records of the process down to DEBUG; `str()`, `repr()` and the traceback of every `ArkerError`, just before it is
destroyed; `repr()` of every client, handle, call, event and model that was made.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import traceback
from collections.abc import Callable, Generator
from typing import Any, Final

from arker import (
    AsyncArker,
    AsyncRun,
    AsyncSession,
    AsyncTunnel,
    AsyncVM,
    RequestEvent,
    RetryEvent,
    TransferEvent,
    TunnelResponse,
)
from arker._protocol.codec import codec
from arker._protocol.request import Call
from arker.config import Settings
from arker.errors import ArkerError

MARK: Final = "-".join(("SECRET", "7c41"))
API_KEY: Final = f"ark-{MARK}-key"
OTHER_KEY: Final = f"ark-{MARK}-other-key"
SIGNATURE: Final = f"{MARK}-signature"
TUNNEL_TOKEN: Final = f"{MARK}-tunnel-token"
CREATED_KEY: Final = f"ark-{MARK}-created-key"
PASSWORD: Final = f"{MARK}-password"


class Detector(logging.Handler):
    """Collects places in which a secret shows."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.leaks: list[str] = []
        self.looked_at = 0
        self._formatter = logging.Formatter("%(name)s %(message)s")

    def look(self, where: str, text: str) -> None:
        self.looked_at += 1
        at = text.find(MARK)
        if at >= 0:
            # The finding itself must not spread the secret any further.
            self.leaks.append(f"{where}: …{text[max(0, at - 80) : at]}[SECRET]")

    def emit(self, record: logging.LogRecord) -> None:
        self.look(f"log record of {record.name}", self._formatter.format(record))
        self.look(f"arguments of a log record of {record.name}", repr(record.args))
        self.look(f"facts of a log record of {record.name}", repr(getattr(record, "arker", None)))

    def look_at_error(self, error: ArkerError) -> None:
        name = type(error).__name__
        self.look(f"str of {name}", str(error))
        self.look(f"repr of {name}", repr(error))
        # The messages that a traceback shows. Not the traceback itself: formatting one parses source code, and doing
        # that from a destructor, which may run amid another parse, is more than some versions of Python bear.
        shown: BaseException | None = error
        for _ in range(20):
            if shown is None:
                break
            text = "".join(traceback.format_exception_only(type(shown), shown))
            self.look(f"traceback of {name}, at {type(shown).__name__}", text)
            shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)

    @contextlib.contextmanager
    def expecting(self) -> Generator[list[str], None, None]:
        """Collect what is found inside apart; for the tests of the detector itself."""
        before, self.leaks = self.leaks, []
        try:
            yield self.leaks
        finally:
            self.leaks = before

    def verify(self) -> None:
        """Raise if anything was found since the last time."""
        found, self.leaks = self.leaks, []
        assert not found, "secrets showed:\n" + "\n".join(found)


DETECTOR: Final = Detector()


def install(detector: Detector) -> Callable[[], None]:
    """Watch the whole process; gives the function that ends it."""
    undo = contextlib.ExitStack()
    root = logging.getLogger()
    root.addHandler(detector)
    undo.callback(root.removeHandler, detector)
    for name in (None, "arker", "aiohttp", "asyncio"):
        logger = logging.getLogger(name)
        undo.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.DEBUG)

    def destroyed(error: ArkerError) -> None:
        # By then it has all its attributes, and looking at it does not lengthen its life.
        detector.look_at_error(error)

    ArkerError.__del__ = destroyed  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    undo.callback(delattr, ArkerError, "__del__")
    handles = (AsyncArker, AsyncVM, AsyncRun, AsyncSession, AsyncTunnel)
    watched: tuple[Any, ...] = (*handles, Call, Settings, RequestEvent, RetryEvent, TransferEvent, TunnelResponse)
    for cls in watched:
        original = cls.__init__
        undo.callback(setattr, cls, "__init__", original)
        setattr(cls, "__init__", _then_look(cls, detector))  # noqa: B010 - an assignment would not type-check
    undo.callback(setattr, codec, "structure", codec.structure)
    setattr(codec, "structure", _structure(detector))  # noqa: B010
    undo.callback(setattr, codec, "structure_leniently", codec.structure_leniently)
    setattr(codec, "structure_leniently", _structure_leniently(detector))  # noqa: B010
    return undo.close


def _then_look(cls: type[Any], detector: Detector) -> Callable[..., None]:
    original = cls.__init__

    @functools.wraps(original)
    def init(self: object, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        detector.look(f"repr of {cls.__name__}", repr(self))
        if cls is Call:
            detector.look("repr of Request", repr(getattr(self, "request", None)))

    return init


def _structure(detector: Detector) -> Callable[..., object]:
    original = codec.structure

    def structure(value: object, cls: type[Any]) -> object:
        result = original(value, cls)
        detector.look(f"repr of {cls.__name__}", repr(result))
        return result

    return structure


def _structure_leniently(detector: Detector) -> Callable[..., object]:
    original = codec.structure_leniently

    def structure(value: object, cls: type[Any]) -> object:
        result, misfits = original(value, cls)
        detector.look(f"repr of {cls.__name__}", repr(result))
        return result, misfits

    return structure


def finish(detector: Detector) -> None:
    """Look at the errors that only the garbage collector destroys, too."""
    gc.collect()
    detector.verify()
