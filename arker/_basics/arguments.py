"""Hints for users of an argument of a client or a setting that they know from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from types import FunctionType
from typing import Any, Final, TypeVar

T = TypeVar("T")

_CLIENT: Final = {
    **dict.fromkeys(["token", "key", "apikey", "auth_key", "access_token"], "api_key"),
    **dict.fromkeys(["url", "api_url", "endpoint", "host", "server_url", "domain"], "base_url"),
    **dict.fromkeys(["proxy", "proxies"], "the variables HTTPS_PROXY and NO_PROXY of the environment"),
    **dict.fromkeys(
        ["verify", "verify_ssl", "ssl", "ssl_context", "cert", "ca_certs"],
        "the variable SSL_CERT_FILE of the environment for other certificates",
    ),
    **dict.fromkeys(["retries", "max_retries"], "retry=RetryPolicy(attempts=…)"),
    **dict.fromkeys(["on_request", "on_retry", "on_transfer"], "hooks=Hooks(on_request=…, on_retry=…, on_transfer=…)"),
    **dict.fromkeys(["concurrency", "max_concurrency", "limit"], "max_connections"),
    **dict.fromkeys(["deadline", "request_timeout"], "deadline of each call, or timeout=HttpTimeouts(…)"),
    **dict.fromkeys(["timeouts", "http_timeouts", "http_timeout"], "timeout=HttpTimeouts(…)"),
}
ARGUMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "AsyncArker": {
        **_CLIENT,
        **dict.fromkeys(["http_client", "client", "connector", "headers", "trust_env"], "session"),
    },
    "Arker": {**_CLIENT, "session": "AsyncArker: a session belongs to one event loop"},
    "RetryPolicy": {
        **dict.fromkeys(["max_attempts", "retries", "max_retries", "total"], "attempts"),
        **dict.fromkeys(["backoff", "backoff_factor", "delay", "wait"], "base_delay and max_delay"),
    },
    "HttpTimeouts": {
        **dict.fromkeys(["read", "write", "sock_read"], "idle, or deadline of each call"),
        **dict.fromkeys(["total", "timeout", "deadline"], "deadline of each call"),
    },
}
"""For each class: arguments from elsewhere, and what there is in place of them."""
LOCAL: Final[Mapping[str, str]] = {
    # It starts a server of its own, so that an address is none of its options.
    **{name: use for name, use in _CLIENT.items() if use != "base_url"},
    "base_url": "the client without local(), which starts a backend of its own",
    "ledger": "the client without local(), with the client_options of an arker.emulator.Emulator",
}
"""The same for ``local`` of the clients, whose other options are the backend's."""

BLOCKING_LOCAL: Final[Mapping[str, str]] = {"session": ARGUMENTS["Arker"]["session"]}
"""The same for an argument that only ``local`` of the async client has."""


def guide(cls: type[T]) -> type[T]:
    """Let the initializer of a class tell what to use instead of an argument from elsewhere."""
    words, initialize = ARGUMENTS.get(cls.__name__), vars(cls).get("__init__")
    ours = cls.__module__.partition(".")[0] in ("arker", "arker_sync")  # not one of a caller's with the same name
    if ours and words is not None and isinstance(initialize, FunctionType):
        setattr(cls, "__init__", _guided(initialize, words))  # noqa: B010 - type checkers know its own signature
    return cls


def _guided(initialize: FunctionType, words: Mapping[str, str]) -> Any:
    @wraps(initialize)
    def __init__(self: object, *arguments: Any, **named: Any) -> None:
        refuse(initialize.__qualname__, words, named)
        initialize(self, *arguments, **named)

    return __init__


def refuse(function: str, words: Mapping[str, str], named: Mapping[str, object]) -> None:
    """Refuse arguments from elsewhere, and tell what there is in place of them."""
    for name in named:
        if name in words:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}; use {words[name]}")


__all__ = ["ARGUMENTS", "BLOCKING_LOCAL", "LOCAL", "guide", "refuse"]
