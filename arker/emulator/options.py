"""The settings of the embedded backend."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict

import attrs
from attrs import field, frozen

from arker.errors import InvalidArgumentError

Isolation: TypeAlias = Literal["auto", "bubblewrap", "none"]
GenerationName: TypeAlias = Literal["both", "0.5", "1"]

LOCAL_ORG_ID = "org_local"
"""The organisation that the backend's own API key belongs to."""

_ISOLATIONS = ("auto", "bubblewrap", "none")
_GENERATIONS = ("both", "0.5", "1")
WINDOW_MAXIMUM = 300.0
"""Seconds after which the service answers a run that goes on as one in the background."""
_Attribute: TypeAlias = "attrs.Attribute[Any]"


def _isolation(_: Any, attribute: _Attribute, value: object) -> None:
    if value not in _ISOLATIONS:
        raise InvalidArgumentError(attribute.name, value, f"expected one of {', '.join(_ISOLATIONS)}")


def _generation(_: Any, attribute: _Attribute, value: object) -> None:
    if value not in _GENERATIONS:
        raise InvalidArgumentError(attribute.name, value, f"expected one of {', '.join(_GENERATIONS)}")


def _window(_: Any, attribute: _Attribute, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= WINDOW_MAXIMUM:
        raise InvalidArgumentError(
            attribute.name, value, f"expected a number of seconds above zero, at most {WINDOW_MAXIMUM:g}"
        )


def _port(_: Any, attribute: _Attribute, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise InvalidArgumentError(attribute.name, value, "expected a port number, or 0 for any free one")


def _check_key(argument: str, value: object) -> None:
    # The value is not shown: it may be a mistyped secret.
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{8,512}", value):
        raise InvalidArgumentError(argument, "(not shown)", "expected 8 to 512 visible ASCII characters")


def _api_key(_: Any, attribute: _Attribute, value: object) -> None:
    if value is not None:
        _check_key(attribute.name, value)


def _boolean(_: Any, attribute: _Attribute, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidArgumentError(attribute.name, value, "expected True or False")


def _region(_: Any, attribute: _Attribute, value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", value):
        raise InvalidArgumentError(attribute.name, value, "expected a region such as us-west-2")


def _seconds(_: Any, attribute: _Attribute, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise InvalidArgumentError(attribute.name, value, "expected a number of seconds above zero")


def _patience(_: Any, attribute: _Attribute, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 3600:
        raise InvalidArgumentError(attribute.name, value, "expected a number of seconds from 0 to 3600")


def _bytes(_: Any, attribute: _Attribute, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgumentError(attribute.name, value, "expected a number of bytes of at least 1")


def _limit(minimum: int, things: str, maximum: int = 1_000_000) -> Callable[[Any, _Attribute, object], None]:
    def check(_: Any, attribute: _Attribute, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise InvalidArgumentError(
                attribute.name, value, f"expected a number of {things} from {minimum} to {maximum}"
            )

    return check


def _directory(_: Any, attribute: _Attribute, value: Path | None) -> None:
    if value is not None and not value.is_dir():
        raise InvalidArgumentError(attribute.name, str(value), "expected an existing directory")


def _state(_: Any, attribute: _Attribute, value: Path | None) -> None:
    if value is not None and not value.is_dir() and (value.exists() or not value.absolute().parent.is_dir()):
        raise InvalidArgumentError(
            attribute.name, str(value), "expected a directory, or the name of one to be made in an existing directory"
        )


def _as_path(argument: str, value: str | bytes | os.PathLike[str]) -> Path:
    """Return a path in full: the server has another working directory. What is none is refused."""
    path = None
    with contextlib.suppress(TypeError):
        path = os.fspath(value)
    if not isinstance(path, str) or not path:
        raise InvalidArgumentError(argument, value, "expected the path of a directory")
    return Path(os.path.abspath(path))


def _as_parent(value: str | os.PathLike[str]) -> Path:
    return _as_path("state_parent", value)


def _as_state(value: str | os.PathLike[str]) -> Path:
    return _as_path("state", value)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, Iterable) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _host_ports(_: Any, attribute: _Attribute, value: Sequence[object]) -> None:
    ports = value if isinstance(value, tuple) else (None,)  # a single port is not a list
    if not all(isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65536 for port in ports):
        raise InvalidArgumentError(attribute.name, value, "expected a list of port numbers from 1 to 65535")


def _organisations(_: Any, attribute: _Attribute, value: object) -> None:
    if not isinstance(value, Mapping):
        # It is not shown, since there may be keys in it.
        raise InvalidArgumentError(
            attribute.name, "(not shown)", "expected a mapping of organisations' ids to API keys"
        )
    given: Mapping[object, object] = value  # pyright: ignore[reportUnknownVariableType]
    for name, key in given.items():
        known = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
        if not known or name in {LOCAL_ORG_ID, "ArkerHQ"}:
            raise InvalidArgumentError(attribute.name, name, "expected other organisations' ids as keys")
        _check_key(f"{attribute.name}[{name!r}]", key)


@frozen(kw_only=True)
class EmulatorOptions:
    """Settings of the embedded backend. An invalid one raises `arker.errors.InvalidArgumentError`.

    Attributes:
        isolation: ``bubblewrap`` isolates each VM; ``none`` runs commands unprotected as the user who started the
            backend; ``auto`` is ``bubblewrap``, or an error where that does not work; it is never ``none``.
        port: The port on 127.0.0.1; 0 takes a free one.
        api_key: The bearer token that the server asks for; None makes a random one.
        region: The region that is reported for VMs.
        presigned: Whether large files use presigned URLs. Without them, a request for one is answered with
            `unsupported_operation`, and reads of any size are inline.
        presigned_ttl: Seconds that a presigned URL lives (contract, section 6).
        output_limit: Bytes kept of each output of a run. Further bytes are dropped and counted.
        late_output: Seconds that a run waits, after its command has ended, for filters that still process its output,
            such as that of ``> >(filter)``. It does not wait for other background processes.
        process_limit: How many processes (threads included) a VM may have at once; enforced with ``bubblewrap`` on
            Linux 5.14 and newer only.
        open_files_limit: How many files a process of a VM may have open.
        spares: How many sandboxes may be kept started for VMs that are used for the first time, with ``bubblewrap``.
            They are let go when no VM has needed one for half a minute.
        state_parent: The directory in which the state directory is made; None is the system's temporary directory.
        state: The directory in which the backend keeps VMs, filesystems and finished runs beyond its own end, whatever
            ends it; the next backend with the same directory goes on with them. It is made if it does not exist. None:
            everything ends with the backend.
        host_ports: Ports of 127.0.0.1 that VMs may reach, by the name ``host.arker.internal``.
        organisations: Further organisations, id to API key, to test access to another organisation's VMs.
        start_timeout: Seconds that `Emulator.wait_ready` waits for the server.
        generation: The generation of the API that the server speaks: ``0.5``, ``1``, or ``both`` at once.
        foreground_window: Seconds after which a run that goes on is answered as one in the background; not in
            generation 0.5. Tests shorten it.
    """

    isolation: Isolation = field(default="auto", validator=_isolation)
    port: int = field(default=0, validator=_port)
    api_key: str | None = field(default=None, validator=_api_key, repr=False)
    region: str = field(default="us-west-2", validator=_region)
    presigned: bool = field(default=True, validator=_boolean)
    presigned_ttl: float = field(default=900.0, validator=_seconds)
    output_limit: int = field(default=256 * 1024 * 1024, validator=_bytes)
    late_output: float = field(default=2.0, validator=_patience)
    process_limit: int = field(default=512, validator=_limit(8, "processes"))
    open_files_limit: int = field(default=16384, validator=_limit(256, "files"))
    spares: int = field(default=3, validator=_limit(0, "sandboxes", 100))
    state_parent: Path | None = field(
        default=None, converter=attrs.converters.optional(_as_parent), validator=_directory
    )
    state: Path | None = field(default=None, converter=attrs.converters.optional(_as_state), validator=_state)
    host_ports: Sequence[int] = field(default=(), converter=_as_tuple, validator=_host_ports)
    organisations: Mapping[str, str] = field(factory=dict[str, str], validator=_organisations, repr=False)
    start_timeout: float = field(default=120.0, validator=_seconds)
    generation: GenerationName = field(default="both", validator=_generation)
    foreground_window: float = field(default=WINDOW_MAXIMUM, validator=_window)


class ClientOptions(TypedDict):
    """The arguments of a client that `arker.emulator.Emulator.client_options` gives."""

    api_key: str
    base_url: str
    burst_base_url: str
    control_base_url: str


__all__ = ["LOCAL_ORG_ID", "WINDOW_MAXIMUM", "ClientOptions", "EmulatorOptions", "GenerationName", "Isolation"]
