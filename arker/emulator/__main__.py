"""``python -m arker.emulator``: the embedded backend from the command line, and the child process of `Emulator`.

The first line on standard output is a JSON object with ``url`` and ``api_key``; what follows is for people. It ends on
SIGTERM, SIGINT and SIGHUP, and leaves nothing behind.
"""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arker.emulator._log import LogFormatter, set_up_log
from arker.emulator._start import begin, listening_socket
from arker.emulator._state import StateDir, remove_state_dir, sweep
from arker.emulator.options import EmulatorOptions
from arker.emulator.sandbox.base import IsolationUnavailableError, SandboxError
from arker.errors import ArkerError, InvalidArgumentError, StateDirectoryError

_END_PATIENCE = 25.0  # more than all that the server waits for at its end


def _arguments(given: Sequence[str], prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Serve the VM API on this machine (127.0.0.1 only), for development and tests.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0, the default, takes a free one")
    parser.add_argument(
        "--isolation",
        default="auto",
        help="auto (the default) or bubblewrap: isolated VMs; none: commands run unprotected, as you",
    )
    parser.add_argument(
        "--api-key-file", type=Path, help="file with the API key to ask for; without it, a random one is made"
    )
    parser.add_argument("--region", default="us-west-2", help="region that VMs are said to be in")
    parser.add_argument(
        "--no-presigned", dest="presigned", action="store_false", help="answer requests for presigned URLs with 422"
    )
    parser.add_argument("--presigned-ttl", type=float, default=900.0, help="seconds that a presigned URL lives")
    parser.add_argument(
        "--output-limit", type=int, default=256 * 1024 * 1024, help="bytes kept of each output of a run"
    )
    parser.add_argument(
        "--late-output",
        type=float,
        default=2.0,
        help="seconds that a run waits for output that filters which it left behind are still writing",
    )
    parser.add_argument("--process-limit", type=int, default=512, help="processes that a VM may have at once")
    parser.add_argument("--open-files-limit", type=int, default=16384, help="files that a process may have open")
    parser.add_argument("--spares", type=int, default=3, help="sandboxes that may be kept ready for new VMs")
    parser.add_argument("--state-parent", type=Path, help="where the temporary state directory is made")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="directory in which VMs, filesystems and finished runs are kept for the next backend; made if need be",
    )
    parser.add_argument(
        "--host-port",
        type=int,
        action="append",
        default=[],
        metavar="PORT",
        help="port of 127.0.0.1 that VMs may reach, by the name host.arker.internal; may be given several times",
    )
    parser.add_argument(
        "--generation", default="both", help="generation of the API: 0.5, 1, or both at once (the default)"
    )
    parser.add_argument(
        "--foreground-window",
        type=float,
        default=300.0,
        help="seconds after which a run that goes on is answered as one in the background",
    )
    # For `Emulator`: the settings are one JSON line on standard input. When that ends, the server ends.
    parser.add_argument("--managed", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(given)


@contextmanager
def without_certificates() -> Generator[None, None, None]:
    """Hide the system's certificates from modules that are loaded meanwhile.

    aiohttp reads them all when it is imported, for its client, which this server does not use. That would be a seventh
    of its start. The proxy of VMs reads them itself when it meets HTTPS.
    """
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_within(seconds: float) -> None:
    """Kill this process if its end takes longer. After the parent has gone, no other process would."""

    def kill() -> None:
        logging.getLogger("arker.emulator").error("the server did not end within %g s, and is killed", seconds)
        os.kill(os.getpid(), signal.SIGKILL)  # VMs die with it, and the guard removes their files

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()


async def _serve(
    options: EmulatorOptions,
    *,
    api_key: str,
    state_dir: Path,
    sock: socket.socket,
    ready: Callable[[str, Sequence[str]], None],
    lifeline: int | None,
) -> None:
    """Serve until a signal arrives or the lifeline (a descriptor) reaches its end."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the last: its terminal was closed
        loop.add_signal_handler(number, over.set)
    if lifeline is not None:

        def check_lifeline(descriptor: int = lifeline) -> None:
            if not os.read(descriptor, 4096):
                loop.remove_reader(descriptor)
                over.set()

        loop.add_reader(lifeline, check_lifeline)

    # Imported late: it takes most of the start-up time, and from here on signals are handled. Nothing that is loaded is
    # garbage, and looking for some would be a tenth of it.
    gc.disable()
    with without_certificates():
        from arker.emulator.sandbox.host.process_tree import adopt_orphans, collect_all
        from arker.emulator.server.service import Service, base_url

    gc.enable()
    adopt_orphans()
    sweep(state_dir.parent)
    service = Service(options, api_key=api_key, state_dir=state_dir, sock=sock)
    try:
        start, end = asyncio.ensure_future(service.start()), asyncio.ensure_future(over.wait())
        await asyncio.wait((start, end), return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            start.cancel()
            await asyncio.wait((start,))
        if not start.cancelled():
            start.result()
            gc.freeze()  # what has been loaded stays, and need not be looked through again and again
            if not over.is_set():
                ready(base_url(service.origin), service.warnings)
                if options.isolation != "none":
                    from arker.emulator.sandbox.bubblewrap.orphans import end_orphans

                    end_orphans()
            await end
        end.cancel()
    finally:
        _end_within(_END_PATIENCE)
        await service.close()
        collect_all()


def _managed(log: LogFormatter) -> int:
    """Run the server as the child of `Emulator`."""
    line = b""
    while not line.endswith(b"\n"):
        # Byte by byte is not needed: nothing follows the line until the pipe ends.
        piece = os.read(0, 65536)
        if not piece:
            return 0  # the parent has gone already
        line += piece
    settings: dict[str, Any] = json.loads(line)
    log.hide((settings["api_key"], *settings["options"]["organisations"].values()))

    def answer(body: dict[str, Any]) -> None:
        with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
            channel.write(json.dumps(body))
        # Standard output was the channel; the parent waits for its end.
        os.dup2(2, 1)

    state_dir = Path(settings["state_dir"])
    status = 0
    try:
        options = EmulatorOptions(**settings["options"])
        sock = socket.socket(fileno=settings["socket"])
        # The keepers are held for as long as this process lives.
        for descriptor in (sock.fileno(), *settings["keepers"]):
            os.set_inheritable(descriptor, False)
        asyncio.run(
            _serve(
                options,
                api_key=settings["api_key"],
                state_dir=state_dir,
                sock=sock,
                ready=lambda url, warnings: answer({"ready": True, "url": url, "warnings": [*warnings]}),
                lifeline=0,
            )
        )
    except StateDirectoryError as error:
        answer({"error": error.message, "state": {"path": error.path, "reason": error.reason}})
        status = 1
    except (IsolationUnavailableError, SandboxError, ArkerError, OSError) as error:
        answer({"error": str(error)})
        status = 1
    # The parent removes it too, in case this process is killed. This is for the case that the parent was killed.
    remove_state_dir(state_dir)
    return status


def _key_in(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except UnicodeDecodeError:  # its message would quote a byte of it
        raise InvalidArgumentError("--api-key-file", str(file), "expected a text file") from None


def _by_hand(log: LogFormatter, given: Sequence[str], prog: str, announce: Callable[[str, str], str] | None) -> int:
    """Run the server from the command line."""
    arguments = _arguments(given, prog)
    state: StateDir | None = None
    try:
        options = EmulatorOptions(
            isolation=arguments.isolation,
            port=arguments.port,
            api_key=None if arguments.api_key_file is None else _key_in(arguments.api_key_file),
            region=arguments.region,
            presigned=arguments.presigned,
            presigned_ttl=arguments.presigned_ttl,
            output_limit=arguments.output_limit,
            process_limit=arguments.process_limit,
            open_files_limit=arguments.open_files_limit,
            spares=arguments.spares,
            state_parent=arguments.state_parent,
            state=arguments.state,
            host_ports=arguments.host_port,
            late_output=arguments.late_output,
            generation=arguments.generation,
            foreground_window=arguments.foreground_window,
        )
        api_key = options.api_key or f"ark_local_{secrets.token_urlsafe(32)}"
        log.hide((api_key,))
        if options.isolation == "none":
            print("warning: isolation is 'none': commands run unprotected, as you", file=sys.stderr)
        sock = listening_socket(options.port, 1024)

        def ready(url: str, _: Sequence[str]) -> None:  # the log is on standard error, and has the warnings
            print(json.dumps({"url": url, "api_key": api_key}))
            print("\nThe embedded backend is running. To use it from another terminal:\n")
            print(f"    export ARKER_API_KEY={api_key}")
            for name in ("ARKER_BASE_URL", "ARKER_BURST_BASE_URL", "ARKER_CONTROL_BASE_URL"):
                print(f"    export {name}={url}")
            if announce is not None:
                print(announce(url, api_key))
            kept = "with all of its VMs" if options.state is None else f"and leaves its VMs in {options.state}"
            print(f"\nCtrl-C ends it, {kept}.", flush=True)

        state = StateDir(options.state_parent)
        asyncio.run(_serve(options, api_key=api_key, state_dir=state.path, sock=sock, ready=ready, lifeline=None))
    except (IsolationUnavailableError, SandboxError, ArkerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        if state is not None:
            state.remove()
    return 0


def main(
    arguments: Sequence[str] | None = None,
    *,
    prog: str = "python -m arker.emulator",
    announce: Callable[[str, str], str] | None = None,
) -> int:
    """Run the server. Returns the process's exit status.

    Args:
        arguments: The command line; by default the program's own.
        prog: The program's name in its help.
        announce: Called with the URL and the API key when the server is ready; returns what to print about that.
    """
    given = sys.argv[1:] if arguments is None else arguments
    begin()
    log = set_up_log()
    return _managed(log) if list(given) == ["--managed"] else _by_hand(log, given, prog, announce)


if __name__ == "__main__":
    sys.exit(main())
