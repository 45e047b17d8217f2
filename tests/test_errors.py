"""The error tree: which class an answer becomes, what an error shows, and that it survives being sent elsewhere."""

from __future__ import annotations

import copy
import errno
import inspect
import logging
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

import arker
from arker import AsyncVM, errors
from arker._protocol.codec.codec import structure
from arker._protocol.reply import api_error
from arker.directories import DirectoryEntry, DirectoryReport
from arker.errors import (
    ActionRequiredError,
    AlreadyExistsError,
    ApiError,
    ArkerError,
    BadCursorError,
    BadReplyError,
    BadRequestError,
    CapacityUnavailableError,
    CommandNotRunError,
    ConfigurationError,
    ConflictError,
    DeadlineExceededError,
    DirectoryConflictError,
    EmulatorError,
    ExpiredError,
    FileChangedError,
    FileTooLargeError,
    FleetError,
    ForbiddenError,
    GatewayTimeoutError,
    IdempotencyConflictError,
    InsufficientResourcesError,
    IntegrityError,
    InternalError,
    InvalidArgumentError,
    InvalidStateError,
    LocalFileError,
    MethodNotAllowedError,
    NetworkError,
    NetworkTimeoutError,
    NotFoundError,
    OperationFailedError,
    OperationNotImplementedError,
    OutputChangedError,
    PayloadTooLargeError,
    PaymentRequiredError,
    QuotaExceededError,
    RateLimitedError,
    RemoteFileError,
    RemoteFileExistsError,
    RemoteFileNotFoundError,
    RemoteIsADirectoryError,
    RemoteNoSpaceError,
    RemoteNotADirectoryError,
    RemotePathError,
    RemotePermissionError,
    ResourceBusyError,
    ResourcePressureError,
    RunFailedError,
    RunNotFinishedError,
    StateDirectoryError,
    TerminalClosedError,
    TransferError,
    TunnelClosedError,
    UnauthorizedError,
    UnavailableError,
    UnrecoverableError,
    UnsupportedOperationError,
    VMGoneError,
    WorkingDirectoryError,
)
from arker.errors.api import Recovery
from arker.errors.choice import api_error_class
from arker.errors.remote import remote_file_error
from arker.models import CompletedRunResult
from tests.support.samples import completed
from tests.support.server import ScriptedServer
from tests.support.server import error as error_reply

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, ArkerError)]

PARENTS: dict[type, tuple[type, ...]] = {
    ArkerError: (Exception,),
    ConfigurationError: (ArkerError,),
    InvalidArgumentError: (ArkerError, ValueError),
    NetworkError: (ArkerError,),
    NetworkTimeoutError: (NetworkError, TimeoutError),
    DeadlineExceededError: (ArkerError, TimeoutError),
    RunFailedError: (ArkerError,),
    RunNotFinishedError: (ArkerError,),
    CommandNotRunError: (ArkerError,),
    WorkingDirectoryError: (CommandNotRunError, FileNotFoundError),
    OutputChangedError: (ArkerError,),
    TerminalClosedError: (ArkerError,),
    TunnelClosedError: (ArkerError,),
    EmulatorError: (ArkerError,),
    StateDirectoryError: (EmulatorError,),
    FleetError: (ArkerError,),
    DirectoryConflictError: (TransferError,),
    TransferError: (ArkerError,),
    FileChangedError: (TransferError,),
    FileTooLargeError: (TransferError,),
    IntegrityError: (TransferError,),
    LocalFileError: (TransferError, OSError),
    ApiError: (ArkerError,),
    BadRequestError: (ApiError,),
    BadCursorError: (BadRequestError,),
    UnauthorizedError: (ApiError,),
    ForbiddenError: (ApiError,),
    NotFoundError: (ApiError,),
    VMGoneError: (NotFoundError,),
    ConflictError: (ApiError,),
    PayloadTooLargeError: (ApiError,),
    UnsupportedOperationError: (ApiError,),
    RateLimitedError: (ApiError,),
    OperationNotImplementedError: (ApiError,),
    RemoteFileError: (ApiError, OSError),
    RemoteFileNotFoundError: (RemoteFileError, NotFoundError, FileNotFoundError),
    RemotePermissionError: (RemoteFileError, BadRequestError, PermissionError),
    RemoteIsADirectoryError: (RemoteFileError, BadRequestError, IsADirectoryError),
    RemoteNotADirectoryError: (RemoteFileError, BadRequestError, NotADirectoryError),
    RemoteFileExistsError: (RemoteFileError, ConflictError, FileExistsError),
    RemoteNoSpaceError: (RemoteFileError, ResourcePressureError),
    RemotePathError: (RemoteFileError, BadRequestError),
    ResourcePressureError: (ApiError,),
    UnavailableError: (ApiError,),
    InternalError: (ApiError,),
    BadReplyError: (InternalError,),
    InsufficientResourcesError: (BadRequestError,),
    PaymentRequiredError: (ApiError,),
    ActionRequiredError: (ForbiddenError,),
    ExpiredError: (NotFoundError,),
    AlreadyExistsError: (ConflictError,),
    ResourceBusyError: (ConflictError,),
    InvalidStateError: (ConflictError,),
    IdempotencyConflictError: (ConflictError,),
    UnrecoverableError: (ApiError,),
    OperationFailedError: (ApiError,),
    QuotaExceededError: (RateLimitedError,),
    MethodNotAllowedError: (OperationNotImplementedError,),
    CapacityUnavailableError: (ResourcePressureError, UnavailableError),
    GatewayTimeoutError: (UnavailableError,),
}

FACTS: dict[str, Any] = {
    "code": "a_code",
    "status": 418,
    "operation": "vm.run",
    "request_id": "req-1",
    "retry_after": 2.5,
    "attempts": 3,
    "outcome": "unknown",
    "idempotency_key": "key-1",
}


def result(**more: Any) -> CompletedRunResult:
    return structure(completed("out", "err\n", 3, **more), CompletedRunResult)


def made(cls: type[ArkerError]) -> ArkerError:
    """Return an error of this class with every attribute set."""
    if cls is InvalidArgumentError:
        return InvalidArgumentError("limit", -1, "expected more").with_context(**FACTS)
    if cls is RunFailedError:
        return RunFailedError(result()).with_context(**FACTS)
    if cls is DirectoryConflictError:
        entry = DirectoryEntry(path="a", action="conflict", kind="file", reason="something is in its place")
        plan = DirectoryReport(direction="upload", local="here", remote="there", entries=(entry,))
        return DirectoryConflictError(plan).with_context(**FACTS)
    if cls is LocalFileError:
        return LocalFileError(OSError(2, "went wrong")).with_context(**FACTS)
    return cls("went wrong", **FACTS)


def test_the_tree() -> None:
    assert set(CLASSES) == set(PARENTS)
    for cls, parents in PARENTS.items():
        assert cls.__bases__ == parents
    assert {cls.__name__ for cls in CLASSES} <= set(errors.__all__)
    assert all(getattr(arker, cls.__name__) is cls for cls in CLASSES)


def test_the_drawing_of_the_tree_is_true() -> None:
    drawn = re.findall(r"^\s*[│├└─ ]*(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(cls.__name__ for cls in CLASSES)


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        ("bad_request", BadRequestError),
        ("unauthorized", UnauthorizedError),
        ("forbidden", ForbiddenError),
        ("not_found", NotFoundError),
        ("conflict", ConflictError),
        ("payload_too_large", PayloadTooLargeError),
        ("unsupported_operation", UnsupportedOperationError),
        ("not_implemented", OperationNotImplementedError),
        ("resource_pressure", ResourcePressureError),
        ("unavailable", UnavailableError),
        ("routing_unavailable", UnavailableError),
        ("temporarily_unavailable", UnavailableError),
        ("internal", InternalError),
    ],
)
def test_the_class_of_a_code(code: str, cls: type[ApiError]) -> None:
    # The code decides, whatever the status; but too many requests are too many requests.
    for status in (200, 400, 404, 500, 503):
        error = api_error(code, "m", status=status)
        assert type(error) is cls
        assert (error.code, error.status, error.message) == (code, status, "m")
    assert api_error_class(code, 429) is RateLimitedError
    assert issubclass(cls, ApiError)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, BadRequestError),
        (401, UnauthorizedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (413, PayloadTooLargeError),
        (429, RateLimitedError),
        (501, OperationNotImplementedError),
        (503, UnavailableError),
        (418, ApiError),
        (500, ApiError),
        (200, ApiError),
    ],
)
def test_the_class_of_an_unknown_code(status: int, cls: type[ApiError]) -> None:
    error = api_error("from_the_future", "m", status=status)
    assert type(error) is cls
    assert error.code == "from_the_future"


def test_default_codes() -> None:
    assert NetworkError("m").code == NetworkTimeoutError("m").code == "network_error"
    assert NetworkError("m").status == 0
    assert ConfigurationError("m").code == "configuration_error"
    assert InvalidArgumentError("a", 1, "x").code == "invalid_argument"
    assert DeadlineExceededError("m").code == "deadline_exceeded"
    assert RunFailedError(result()).code == "run_failed"
    assert EmulatorError("m").code == "emulator_error"
    assert BadReplyError("m").code == "internal"
    assert BadReplyError("m").path == "$"


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_shows_what_is_known(cls: type[ArkerError]) -> None:
    error = made(cls)
    for name, value in FACTS.items():
        assert getattr(error, name) == value
    shown = str(error)
    assert shown.startswith(f"vm.run: {error.message} (code a_code, HTTP 418, 3 attempts")
    assert shown.endswith("retry after 2.5 s, request req-1, outcome unknown)")
    assert repr(error) == f"<{cls.__name__} {shown!r}>"


EVIL = "a\n2026-01-01 WARNING forged\r\x1b[2J\u202eb"
HARMLESS = r"a\n2026-01-01 WARNING forged\r\x1b[2J\u202eb"


def test_nothing_that_others_say_passes_for_another_line_or_moves_a_cursor() -> None:
    error = ApiError(EVIL, code=EVIL, request_id=EVIL, vm_id=EVIL, run_id=EVIL, status=500)
    assert str(error).count(HARMLESS) == 5
    assert str(error).isprintable()
    assert repr(error).isprintable()
    assert error.message == error.vm_id == EVIL, "programs get it as it came"


def test_the_end_of_the_backends_log_has_lines_which_are_indented() -> None:
    assert str(EmulatorError("it died: one\ntwo\x1b[2J")) == "it died: one\n    two\\x1b[2J (code emulator_error)"


@pytest.mark.anyio
async def test_nor_in_reprs_and_the_log(server: ScriptedServer, vm: AsyncVM, caplog: pytest.LogCaptureFixture) -> None:
    server.script(*[error_reply(EVIL, EVIL, status=500)] * 2)
    run = vm.attach_run(EVIL)
    with caplog.at_level(logging.DEBUG, "arker"):
        for _ in range(2):
            with pytest.raises(ApiError):
                await run.refresh()
        logging.getLogger("arker").warning("VM %s: %s, %r", EVIL, ValueError(EVIL), EVIL)
    assert repr(run) == f"<AsyncRun {HARMLESS} in VM vm-1>"
    lines = caplog.text.splitlines()
    assert all(line.isprintable() for line in lines)
    assert sum("forged" in line for line in lines) >= 3
    assert not [line for line in lines if line.startswith("2026-01-01")]


def test_what_is_not_known_is_not_shown() -> None:
    assert str(ArkerError("m")) == "m (code internal)"
    assert str(ArkerError("m", attempts=1)) == "m (code internal)"
    assert str(ArkerError("m", retry_after=0.0)) == "m (code internal, retry after 0 s)"
    assert str(ArkerError("m", outcome="applied")) == "m (code internal, outcome applied)"


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_can_be_pickled(cls: type[ArkerError]) -> None:
    error = made(cls)
    pickled = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for twin in (*pickled, copy.copy(error)):
        assert type(twin) is cls
        assert vars(twin) == vars(error)
        assert (str(twin), repr(twin), twin.args) == (str(error), repr(error), error.args)


def test_a_bad_reply_keeps_its_path() -> None:
    error = BadReplyError("m", path="$.vms[3].cwd", status=200)
    assert pickle.loads(pickle.dumps(error)).path == "$.vms[3].cwd"


def test_a_failed_run_carries_its_output() -> None:
    error = RunFailedError(result())
    assert (error.stdout, error.stderr, error.exit_code) == (b"out", b"err\n", 3)
    assert error.result == result()
    assert error.outcome == "applied"
    assert pickle.loads(pickle.dumps(error)).stdout == b"out"
    assert str(error).startswith("the command exited with 3; stderr ends with 'err'")


def test_only_the_end_of_a_long_stderr_is_shown() -> None:
    error = RunFailedError(structure(completed("", "x" * 10_000 + "the end", 1), CompletedRunResult))
    assert "the end" in str(error)
    assert len(str(error)) < 700
    assert len(error.stderr) == 10_007


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1, "limit=-1 is"),
        ("x" * 1000, "… (str) is"),
        (10**5000, "limit=<int> is"),
        (Unshowable(), "limit=<Unshowable> is"),
    ],
    ids=["short", "long", "too many digits", "no repr"],
)
def test_a_refused_argument_is_named_with_its_value(value: object, shown: str) -> None:
    error = InvalidArgumentError("limit", value, "expected an integer")
    assert (error.argument, error.value, error.expected) == ("limit", value, "expected an integer")
    assert str(error).startswith("limit=")
    assert shown in str(error)
    assert len(str(error)) < 250


def test_the_familiar_classes_catch_them_too() -> None:
    assert isinstance(InvalidArgumentError("a", 1, "x"), ValueError)
    assert isinstance(NetworkTimeoutError("m"), TimeoutError)
    assert isinstance(DeadlineExceededError("m"), TimeoutError)


def test_no_status_is_made_up() -> None:
    """Only what a server has said has one: two are about what a reply with HTTP 200 says of one resource, and the
    command line's proxy is a server itself.
    """
    package = Path(str(arker.__file__)).parent
    files = [path for path in package.rglob("*.py") if "emulator" not in path.parts]
    found = {str(path.relative_to(package)) for path in files if re.search(r"\bstatus=[1-9]", path.read_text())}
    assert found == {"_cli/proxy.py", "_lifecycle/creation.py", "_protocol/calls/files.py"}


def test_an_error_of_a_file_keeps_all_that_the_server_said() -> None:
    told: dict[str, Any] = {"status": 404, "request_id": "r", "retry_after": 1.0, "attempts": 2, "outcome": "unknown"}
    told |= {"vm_id": "v", "run_id": "w", "session_id": "s", "operation": "vm.sync", "from_service": True}
    told |= {"recovery": Recovery(work="stopped"), "stage": "restore", "matched": True}
    said = NotFoundError("no such file").with_context(details={"a": 1}, **told)
    error = remote_file_error("/f", errno.ENOENT, said=said)
    assert isinstance(error, RemoteFileNotFoundError)
    assert {name: getattr(error, name) for name in told} == told
    assert (error.details, error.work, error.file, error.code) == ({"a": 1}, "stopped", "/f", "not_found")
