"""`Emulator`: the embedded backend's process, as its parent sees it.

The parent makes the socket, the token and the state directory, so that the address is known before the child has even
started, and nothing is left to clean up that the parent does not know of. The child gets them over its standard input,
which stays open: its end tells the child that the parent has gone. The child answers with one line on standard output.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import signal
import subprocess
import threading
import weakref
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import attrs

from arker._basics.guidance import instead
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.typing import Self
from arker._tasks import clock
from arker._tasks.process import hand_in
from arker._tasks.running_loop import running_loop
from arker._tasks.threads import finished_in_thread
from arker.emulator._answer import Answer
from arker.emulator._start import for_the_owner, in_utf8, listening_socket, pipe, server_command, start_server
from arker.emulator._state import StateDir
from arker.emulator.control.channel import ControlChannel, Controlled
from arker.emulator.options import ClientOptions, EmulatorOptions
from arker.errors import EmulatorError, InvalidArgumentError, StateDirectoryError

logger = logging.getLogger("arker.emulator")

_CLOSE_PATIENCE = 10.0  # seconds between SIGTERM and SIGKILL
_BACKLOG = 1024
_LOG_NAME = "server.log"


class Emulator(Controlled):
    """The embedded backend, in a process of its own.

    As a context manager (``with`` and ``async with``) it starts the server, waits until it answers, and at the end
    stops it and deletes every VM; with ``state`` it keeps them for the next one. Without ``with``, call `launch`, then
    `wait_ready`, and finally `close`. If the caller's process dies, for any reason, the server stops by itself. In a
    process made by ``os.fork()`` the object does nothing, since the server belongs to the parent.

    Args:
        options: Settings; all have defaults.
        keywords: Single settings by their names in `EmulatorOptions`. They override those in ``options``.

    Raises:
        InvalidArgumentError: A setting does not exist, or its value is invalid.

    Example::

        async with Emulator(isolation="bubblewrap") as emulator:
            print(emulator.url)
    """

    __reduce__ = refuse_to_be_pickled
    _spawn = staticmethod(start_server)
    if not TYPE_CHECKING:
        __getattr__ = instead

    def __init__(self, options: EmulatorOptions | None = None, **keywords: Any) -> None:
        known = [setting.name for setting in attrs.fields(EmulatorOptions)]
        for name in keywords:
            if name not in known:
                # Its value is not shown: it may be a key under a misspelt name.
                raise InvalidArgumentError(name, "(not shown)", f"unknown option; expected {', '.join(known)}")
        if options is not None and not isinstance(options, EmulatorOptions):  # pyright: ignore[reportUnnecessaryIsInstance]
            shown = f"({type(options).__name__})"  # without its content, in which there may be a key
            raise InvalidArgumentError("options", shown, "expected EmulatorOptions; single settings are keywords")
        self._options = EmulatorOptions(**keywords) if options is None else attrs.evolve(options, **keywords)
        self._api_key = self._options.api_key or f"ark_local_{secrets.token_urlsafe(32)}"
        self._lock = threading.Lock()
        self._url: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._state: StateDir | None = None
        self._lifeline: IO[bytes] | None = None
        self._answer: Answer | None = None
        self._closed = False
        _alive.add(self)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "not started" if self._process is None else f"pid {self._process.pid}"
        return f"<Emulator {self._url or '(no address yet)'} isolation={self._options.isolation!r} {state}>"

    @property
    def options(self) -> EmulatorOptions:
        """The settings that the backend was made with."""
        return self._options

    @property
    def url(self) -> str:
        """The base URL, known as soon as `launch` has returned; requests made before the server is ready wait for it.

        Raises:
            EmulatorError: The backend has not been launched.
        """
        if self._url is None:
            raise EmulatorError("the embedded backend has not been launched")
        return self._url

    @property
    def api_key(self) -> str:
        """The bearer token."""
        return self._api_key

    @property
    def client_options(self) -> ClientOptions:
        """The arguments that a client needs to use this backend (contract, section 1). They include the token."""
        # Make a new one each time: callers may change it.
        return {
            "api_key": self._api_key,
            "base_url": self.url,
            "burst_base_url": self.url,
            "control_base_url": self.url,
        }

    def _channel(self) -> ControlChannel:
        return ControlChannel(self.url, self._api_key, self._check_controllable)

    def _check_controllable(self) -> None:
        self._launched()
        self.check_alive()

    @property
    def pid(self) -> int | None:
        """The server's process id; None before `launch` and after `close`."""
        # The number of a process that has ended may soon be another one's.
        return None if self._process is None or self._closed else self._process.pid

    def launch(self) -> None:
        """Start the server's process and return at once. A second call does nothing.

        Raises:
            EmulatorError: The process, its socket or its directory could not be made, or the backend was closed.
        """
        with self._lock:
            if self._closed:
                raise EmulatorError("the embedded backend has been closed")
            if os.getpid() != self._owner and self._process is not None:
                raise EmulatorError("the embedded backend belongs to the process that launched it")
            if self._process is None:
                self._owner = os.getpid()
                try:
                    self._launch()
                except (OSError, RuntimeError) as error:  # the latter where no thread can be started
                    self._let_go()
                    if self._process is not None:
                        self._process.kill()
                        self._process.wait()
                        self._process = self._url = None
                    if self._answer is not None:
                        self._answer.close()
                    self._remove_state()
                    raise EmulatorError(f"the embedded backend could not be launched: {error}") from error

    def _launch(self) -> None:
        command = server_command()
        if self._options.isolation == "none":
            logger.warning("isolation is 'none': commands run unprotected, as this user")
        self._state = StateDir(self._options.state_parent)
        with contextlib.ExitStack() as theirs:
            sock = theirs.enter_context(listening_socket(self._options.port, _BACKLOG))
            # Their ends are closed as files: gevent closes a descriptor only when its loop goes on.
            their_input, lifeline = pipe()
            theirs.enter_context(os.fdopen(their_input, "rb", buffering=0))
            self._lifeline = os.fdopen(lifeline, "wb", buffering=0)
            answers, their_output = pipe()
            theirs.enter_context(os.fdopen(their_output, "wb", buffering=0))
            self._answer = Answer(answers)
            # VMs' users may pass through this directory, but only the owner may read the log.
            log = theirs.enter_context(open(self._state.path / _LOG_NAME, "xb", opener=for_the_owner))
            streams = (their_input, their_output, log.fileno())
            self._process = self._spawn([*command, "--managed"], streams, (sock.fileno(), *self._state.keepers))
            self._url = f"http://127.0.0.1:{sock.getsockname()[1]}/api"
            self._send_settings(sock.fileno(), self._state)
        self._answer.listen()

    def _send_settings(self, descriptor: int, state: StateDir) -> None:
        options = attrs.asdict(self._options) | {"api_key": None, "state_parent": None}
        options["state"] = None if self._options.state is None else in_utf8(self._options.state)
        settings = {
            "api_key": self._api_key,
            "socket": descriptor,
            "state_dir": in_utf8(state.path),
            "keepers": state.keepers,
            "options": options,
        }
        assert self._lifeline is not None
        try:
            self._lifeline.write(json.dumps(settings).encode() + b"\n")
        except BrokenPipeError:
            pass  # it died at once; `wait_ready` reports why

    def wait_ready(self) -> None:
        """Wait until the server answers requests, for at most `EmulatorOptions.start_timeout` seconds.

        Raises:
            EmulatorError: The server was not launched, or did not start in time, or failed; the message has its reason.
            StateDirectoryError: It cannot use its state directory.
        """
        self._check_answer(self._launched().wait(self._options.start_timeout))

    async def await_ready(self) -> None:
        """Wait like `wait_ready`, for asynchronous callers. The wait may be cancelled."""
        self._check_answer(await self._launched().wait_async(self._options.start_timeout))

    def _launched(self) -> Answer:
        if self._process is None or self._answer is None or self._closed:
            raise EmulatorError(f"the embedded backend {'has been closed' if self._closed else 'was not launched'}")
        if os.getpid() != self._owner:
            raise EmulatorError("the embedded backend belongs to the process that launched it")
        return self._answer

    def _check_answer(self, answer: dict[str, Any] | None) -> None:
        words = self._last_words()
        if answer is None:
            raise EmulatorError(
                f"the embedded backend was not ready within {self._options.start_timeout:g} s (start_timeout): "
                f"{words or 'its log is empty'}"
            )
        if answer.get("ready"):
            for warning in answer.pop("warnings", ()):  # once
                logger.warning("%s", warning)
            return
        if answer.get("state") is not None:
            raise StateDirectoryError(f"the embedded backend could not start: {answer['error']}", **answer["state"])
        reason = answer.get("error") or words or f"its process ended without a word{self._ending()}"
        raise EmulatorError(f"the embedded backend could not start: {reason}")

    def _ending(self) -> str:
        try:
            status = None if self._process is None else self._process.wait(1)
        except subprocess.TimeoutExpired:
            return ""
        return f", with status {status}"

    def check_alive(self) -> None:
        """Check that the backend's process is alive, after a request to it has failed.

        Raises:
            EmulatorError: Its process has ended.
        """
        process = self._process
        if self._closed or process is None or os.getpid() != self._owner:
            return
        status = process.poll()
        if status is not None:
            words = self._last_words()
            raise EmulatorError(f"the embedded backend has died, with status {status}{': ' + words if words else ''}")

    def reset(self) -> None:
        """Reset the server: delete every organisation's VMs, filesystems, runs and idempotency keys.

        Foreground runs in progress end as ``failed``, forks in progress with 503 ``unavailable``. Nothing of them is
        left when this returns. With nothing to delete it takes a few milliseconds. The address stays the same.

        Raises:
            EmulatorError: The backend is not running, or something could not be removed.
        """
        self.wait_ready()
        self._channel().call("POST", "reset")

    async def areset(self) -> None:
        """Reset the server like `reset`, for asynchronous callers. Completed even when the caller is cancelled."""
        await finished_in_thread(self.reset)

    def _last_words(self) -> str:
        """Return the end of the child's log. It never contains the token."""
        try:
            assert self._state is not None
            return (self._state.path / _LOG_NAME).read_text("utf-8", "replace").strip()[-2000:]
        except OSError:
            return ""

    def close(self) -> None:
        """Stop the server, delete every VM and remove all their files, except those in a directory given as ``state``.
        A second call does nothing.

        It asks the process to end and waits 10 s at most before killing it.

        Raises:
            EmulatorError: The state directory could not be removed.
        """
        if os.getpid() != self._owner:  # before the lock, which another thread may have held at the fork
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            process = self._process
            if process is None:
                return
            process.send_signal(signal.SIGTERM)
            if not _ends(process, _CLOSE_PATIENCE):
                process.kill()
                process.wait()
            self._let_go()
            if self._answer is not None:
                # Its reading ends with the process, unless another process has inherited its outputs.
                self._answer.join(_CLOSE_PATIENCE)
            self._remove_state()

    def _let_go(self) -> None:
        if self._lifeline is not None:
            self._lifeline.close()

    def _remove_state(self) -> None:
        if self._state is not None:
            try:
                self._state.remove()
            except OSError as error:
                raise EmulatorError(str(error)) from error

    async def aclose(self) -> None:
        """Stop the server like `close`, for asynchronous callers. It is completed even when the caller is cancelled."""
        await finished_in_thread(self.close)

    def __enter__(self) -> Self:
        try:
            self.launch()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        running_loop()
        try:
            self.launch()
            await self.await_ready()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _after_fork_in_child(self) -> None:
        """Close the pipe, or the server would live as long as this process, and forget the child, which is the
        parent's.
        """
        process = self._process
        if process is not None:
            self._let_go()
            process.returncode = 0  # this process cannot wait for it
        if self._state is not None:
            self._state.leave()


_alive: weakref.WeakSet[Emulator] = weakref.WeakSet()


def _forget_all() -> None:
    for emulator in list(_alive):
        emulator._after_fork_in_child()  # pyright: ignore[reportPrivateUsage]


hand_in("embedded backends", in_child=_forget_all)


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Return whether a process ends within this number of seconds."""
    # Do not use its own `wait`: that uses a clock that tests may have stopped.
    until, step = clock.now() + seconds, 0.0005
    while process.poll() is None:
        if clock.now() > until:
            return False
        clock.pause(step)
        step = min(step * 2, 0.05)
    return True


__all__ = ["Emulator"]
