"""Names that people look for in the packages, and where they are, or what there is in place of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from opcode import opmap
from types import FrameType
from typing import Final

_CLIENT: Final = ("Sandbox", "Client", "SandboxClient", "Api", "Machine", "VirtualMachine")
_CALLS: Final = ("fork", "create", "connect", "local", "sandbox", "fork_many", "list_vms")
_ERRORS: Final = {
    **dict.fromkeys(
        ["Error", "ArkerException", "SandboxError", "SandboxException", "ArkerAPIError", "BaseError"], "ArkerError"
    ),
    **dict.fromkeys(["APIError", "ApiException", "APIStatusError", "HTTPError"], "ApiError"),
    **dict.fromkeys(["NotFound", "NotFoundException", "VMNotFoundError", "SandboxNotFoundError"], "NotFoundError"),
    **dict.fromkeys(["AuthenticationError", "AuthenticationException", "AuthError"], "UnauthorizedError"),
    **dict.fromkeys(["RateLimitError", "RateLimitException", "TooManyRequestsError"], "RateLimitedError"),
    **dict.fromkeys(["ConnectionError", "APIConnectionError"], "NetworkError"),
    **dict.fromkeys(
        ["TimeoutError", "TimeoutException", "SandboxTimeoutError", "DeadlineExceeded"], "DeadlineExceededError"
    ),
    **dict.fromkeys(
        [
            "CommandError",
            "CommandExitException",
            "CommandFailedError",
            "CalledProcessError",
            "ProcessError",
            "RunError",
        ],
        "RunFailedError",
    ),
    **dict.fromkeys(["ValidationError", "InvalidArgumentException"], "InvalidArgumentError"),
}
_COMMON: Final[Mapping[str, str]] = {
    **_ERRORS,
    **dict.fromkeys(
        ["CommandResult", "ExecutionResult", "Result", "CompletedProcess", "ExecResult"], "CompletedRunResult"
    ),
    **dict.fromkeys(["Retry", "RetryConfig", "Retries"], "RetryPolicy"),
    **dict.fromkeys(["Timeout", "Timeouts", "ClientTimeout"], "HttpTimeouts"),
    **{name: f"arker.emulator.{name}" for name in ("Emulator", "EmulatorOptions", "Fault")},
}
ELSEWHERE: Final[Mapping[str, Mapping[str, str]]] = {
    "arker": {
        **_COMMON,
        **dict.fromkeys([*_CLIENT, *(f"Async{name}" for name in _CLIENT)], "AsyncArker, whose fork gives an AsyncVM"),
        **dict.fromkeys(_CALLS, "AsyncArker, whose method it is, in a coroutine, or Arker of arker_sync"),
    },
    "arker_sync": {
        **_COMMON,
        **dict.fromkeys(_CLIENT, "Arker, whose fork gives a VM"),
        **dict.fromkeys(_CALLS, "Arker, whose method it is"),
    },
}
"""For each package: names that it does not have, and what to use."""


def elsewhere(package: str, name: str) -> str | None:
    """Return what to use in place of a name that a package does not have; None if nothing is known of it."""
    of_asyncio = sys.modules["arker"].__all__
    if package == "arker":
        twin = f"Async{name.removesuffix('Handle')}"
        if twin in of_asyncio and name not in ("Run", "Session", "Tunnel"):
            return f"arker_sync.{name}, which is blocking, or {twin}"
    elif name in of_asyncio:
        blocking = sys.modules[package].__all__
        twins = [f"{name.removeprefix('Async')}{end}" for end in ("", "Handle")]
        # Run, Session and Tunnel are records; the handles are called otherwise.
        twin = next(twin for twin in reversed(twins) if twin in blocking)
        return f"arker.{name}, in a coroutine, or {twin}"
    return ELSEWHERE[package].get(name)


def missing(package: str, name: str, asking: FrameType | None) -> ImportError | AttributeError | None:
    """Return the error for a name that a package does not have; None if there is nothing to say beside Python's own.

    Args:
        package: The package.
        name: The name.
        asking: The frame that has asked for it. ``from … import …`` makes an error of its own of an `AttributeError`.
    """
    use = elsewhere(package, name)
    if use is None:
        return None
    if asking is not None and _imports(asking):
        return ImportError(f"cannot import name {name!r} from {package!r}; use {use}", name=package)
    return AttributeError(f"module {package!r} has no attribute {name!r}; use {use}", name=name)


def _imports(frame: FrameType) -> bool:
    return frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]


__all__ = ["ELSEWHERE", "elsewhere", "missing"]
