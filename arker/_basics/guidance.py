"""Hints for users of a name, or a kind of block, that they know from elsewhere.

The names are of the libraries on the page "Coming from other libraries", and of Python's own. Type checkers see nothing
of this, so that they reject the same mistakes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from types import FunctionType
from typing import Final, NoReturn, TypeVar

from arker._basics.arguments import guide

T = TypeVar("T")

CLOSED: Final = (
    "the client is closed: use it, its VMs and what it has opened before its block ends, or make a new client"
)
_RUN: Final = {
    **dict.fromkeys(["kill", "terminate", "stop", "disconnect"], "cancel"),
    **dict.fromkeys(["send_signal", "interrupt"], "signal"),
    **dict.fromkeys(["returncode", "return_code", "exitcode"], "exit_code"),
    **dict.fromkeys(
        ["stdout", "stderr", "communicate", "read", "logs"], "wait for the result, or output or lines as they come"
    ),
    **dict.fromkeys(["stdin", "send_stdin", "send_input", "send"], "write"),
    **dict.fromkeys(["poll", "is_running"], "refresh, and then ended or exit_code"),
    "status": "state",
    "done": "ended",
}
_SESSION: Final = {
    **dict.fromkeys(["exec", "execute", "run_command", "execute_command"], "run or start"),
    **dict.fromkeys(["delete", "kill", "terminate", "aclose"], "close"),
}
_TUNNEL: Final = {
    **dict.fromkeys(["delete", "stop", "aclose"], "close"),
    **dict.fromkeys(["get", "post", "fetch"], "request"),
    **dict.fromkeys(["host", "hostname", "address"], "url"),
}
_RUN_RECORD: Final = {
    **dict.fromkeys(
        ["wait", "cancel", "kill", "refresh", "write", "signal"],
        "run_id: attach_run(run_id) of the VM gives a handle that has it",
    ),
    "id": "run_id",
}
_EXIT_CODE: Final = dict.fromkeys(["returncode", "return_code", "exitcode"], "exit_code")
INSTEAD: Final[Mapping[str, dict[str, str]]] = {
    "AsyncArker": {"close": "aclose"},
    "Arker": {
        **dict.fromkeys(["create", "create_sandbox", "create_vm", "sandbox", "spawn"], "fork"),
        **dict.fromkeys(["connect", "get", "from_id"], "get_vm, or vm(id) without a request"),
        **dict.fromkeys(["list", "vms", "list_sandboxes"], "list_vms or iter_vms"),
        **dict.fromkeys(["run", "exec", "start"], "fork, and that method of the VM"),
        **dict.fromkeys(["delete", "kill"], "get_vm or vm(id), and delete of the VM"),
        **dict.fromkeys(["fleet", "map", "create_many", "fork_all", "forks"], "fork_many"),
        **dict.fromkeys(["upload", "download", "sync", "files"], "fork, and what its VM has of that name"),
        **dict.fromkeys(["user", "me"], "whoami"),
        "regions": "list_regions",
    },
    "VM": {
        **dict.fromkeys(
            ["exec", "execute", "exec_run", "run_command", "run_cmd", "commands", "process", "run_code", "code_run"],
            "run or start",
        ),
        **dict.fromkeys(["spawn", "popen", "Popen", "run_background"], "start"),
        **dict.fromkeys(["stream", "run_stream", "exec_stream"], "run with on_stdout, or start and lines of its run"),
        **dict.fromkeys(["kill", "terminate", "destroy", "close", "aclose", "shutdown", "remove"], "delete"),
        **dict.fromkeys(
            ["stop", "pause", "suspend", "hibernate"],
            "delete, after snapshot if its files are needed again: fork what that gives",
        ),
        **dict.fromkeys(["commit", "checkpoint", "save", "create_snapshot"], "snapshot"),
        **dict.fromkeys(["env", "environ", "set_env"], "run, start or open_session, with env="),
        **dict.fromkeys(["cwd", "chdir", "cd"], "run, start or open_session, with cwd="),
        **dict.fromkeys(["ip", "ip_address", "url", "public_url"], "tunnel, which has a url"),
        **dict.fromkeys(
            ["write", "write_file", "write_files", "put"], "sync(path, data), upload, or files.write_bytes"
        ),
        **dict.fromkeys(["read", "read_file", "get"], "sync(path), download, or files.read_bytes"),
        **dict.fromkeys(
            ["fs", "filesystem", "list_files", "ls", "mkdir", "rm", "open", "exists", "stat", "listdir", "glob"],
            "files",
        ),
        **dict.fromkeys(["read_text", "read_bytes", "write_text", "write_bytes", "watch"], "files, which has it"),
        **dict.fromkeys(["upload_file", "push", "copy_to", "cp", "put_file"], "upload, or upload_dir"),
        **dict.fromkeys(["upload_directory", "upload_folder", "sync_dir"], "upload_dir"),
        **dict.fromkeys(["download_directory", "download_folder"], "download_dir"),
        **dict.fromkeys(["download_file", "pull", "copy_from", "get_file"], "download, or download_dir"),
        **dict.fromkeys(["upload_files"], "upload_many"),
        **dict.fromkeys(["download_files"], "download_many"),
        **dict.fromkeys(["clone", "copy", "branch"], "fork"),
        **dict.fromkeys(
            ["get_host", "expose", "expose_port", "domain", "get_preview_link", "forward", "port_forward"], "tunnel"
        ),
        **dict.fromkeys(["set_timeout", "extend_timeout"], "keep_alive"),
        **dict.fromkeys(["status", "is_running", "is_alive", "ping"], "refresh, and then state"),
        **dict.fromkeys(["info", "get_info", "reload", "describe"], "refresh, and then data"),
        **dict.fromkeys(["shell", "pty", "tty", "create_pty", "open_terminal"], "terminal"),
        **dict.fromkeys(["logs", "runs"], "list_runs or iter_runs"),
        **dict.fromkeys(["session", "new_session"], "open_session"),
        **dict.fromkeys(["sandbox_id", "uuid"], "id"),
        **dict.fromkeys(["rename", "set_name"], "fork with a name: a VM that is there keeps its own"),
        **dict.fromkeys(
            ["wait", "wait_ready", "wait_until_ready"], "run at once: a VM is ready when it has been forked"
        ),
        **dict.fromkeys(["fork_n", "map"], "fork, or fork_many of the client with it as the source"),
    },
    "Files": {
        **dict.fromkeys(["read", "read_file"], "read_text, or read_bytes"),
        **dict.fromkeys(["write", "write_file", "write_files"], "write_text, or write_bytes"),
        **dict.fromkeys(["list", "ls", "list_files", "iterdir"], "listdir, or scandir"),
        **dict.fromkeys(["delete", "delete_file", "delete_files", "unlink", "rm"], "remove, or rmtree"),
        **dict.fromkeys(["makedirs", "make_dir", "create_folder"], "mkdir, with parents=True"),
        **dict.fromkeys(["move", "move_files", "mv"], "rename"),
        **dict.fromkeys(["cp", "copyfile", "copytree"], "copy"),
        **dict.fromkeys(["get_info", "get_file_info", "info"], "stat"),
        **dict.fromkeys(["watch_dir"], "watch"),
        **dict.fromkeys(["search_files", "find"], "glob"),
        **dict.fromkeys(["find_files", "search"], "grep"),
        **dict.fromkeys(["set_file_permissions"], "chmod"),
        **dict.fromkeys(["upload", "upload_file", "put"], "write_bytes, or upload of the VM"),
        **dict.fromkeys(["download", "download_file", "get"], "read_bytes, or download of the VM"),
        "isfile": "is_file",
        "isdir": "is_dir",
    },
    "AsyncRun": _RUN,
    "RunHandle": _RUN,
    "AsyncSession": _SESSION,
    "SessionHandle": _SESSION,
    "AsyncTunnel": _TUNNEL,
    "TunnelHandle": _TUNNEL,
    "TunnelResponse": {
        **dict.fromkeys(["status_code", "code", "getcode"], "status"),
        **dict.fromkeys(["ok", "is_success", "is_error", "raise_for_status"], "status: no status is an error"),
        **dict.fromkeys(["content", "data", "read"], "body, or text"),
        **dict.fromkeys(["getheader", "getheaders"], "headers"),
    },
    "Fleet": {
        **dict.fromkeys(["imap", "imap_unordered", "starmap", "submit"], "map"),
        **dict.fromkeys(["exec", "execute", "run_command", "broadcast", "run_all"], "run"),
        **dict.fromkeys(["sync", "write", "put"], "upload"),
        **dict.fromkeys(["download", "files"], "map, with a function that calls this of its VM"),
        **dict.fromkeys(["delete", "close", "aclose", "kill", "terminate"], "vms in its block, whose end deletes them"),
        **dict.fromkeys(["machines", "sandboxes", "members", "workers"], "vms"),
    },
    "AsyncRemoteFile": {"close": "aclose"},
    "AsyncReadStream": {"close": "aclose"},
    "AsyncItems": {"close": "aclose"},
    "Items": {"aclose": "close"},
    "FileStat": {
        **{f"st_{name}": name for name in ("size", "mode", "uid", "gid", "atime_ns", "mtime_ns", "ctime_ns")},
        **{f"{st}{name}": f"{name}_ns" for st in ("st_", "") for name in ("atime", "mtime", "ctime")},
        **dict.fromkeys(["st_nlink", "nlink"], "links"),
        **dict.fromkeys(["st_ino", "ino"], "inode"),
        "type": "kind",
    },
    "FileEntry": {
        **dict.fromkeys(["size", "mode", "mtime", "mtime_ns", "st_size", "st_mtime", "inode", "target"], "stat"),
        "type": "kind",
    },
    "FleetOutcome": {
        **dict.fromkeys(["result", "output", "data", "get"], "unwrap, or value"),
        **dict.fromkeys(["exception", "exc"], "error"),
        **dict.fromkeys(["success", "succeeded", "failed", "status"], "ok"),
    },
    "Terminal": {
        **dict.fromkeys(["run", "exec", "execute", "send", "sendall", "send_input", "send_stdin", "sendline"], "write"),
        **dict.fromkeys(["recv", "receive", "read_text", "readline", "expect"], "read, or iterate"),
        **dict.fromkeys(["set_size", "setwinsize"], "resize"),
        **dict.fromkeys(["terminate", "stop"], "kill"),
        **dict.fromkeys(["aclose", "disconnect"], "close"),
        **dict.fromkeys(["returncode", "exitcode", "exitstatus"], "exit_code"),
    },
    "Emulator": {
        "base_url": "url",
        **dict.fromkeys(["start", "run"], "launch, or a block"),
        **dict.fromkeys(["stop", "kill", "terminate"], "close, or a block"),
    },
    "CompletedRunResult": {
        **_EXIT_CODE,
        **dict.fromkeys(["code", "exitCode"], "exit_code"),
        **dict.fromkeys(["output", "out", "text", "result"], "stdout_text, or stdout for bytes"),
        **dict.fromkeys(["err", "error"], "stderr_text, or stderr for bytes"),
        **dict.fromkeys(["success", "succeeded", "is_success", "failed"], "ok"),
        **dict.fromkeys(["check_returncode", "raise_for_status", "check"], "ok, or check=True of the call"),
        **dict.fromkeys(["lines", "stdout_lines"], "stdout_text.splitlines()"),
        "id": "run_id",
    },
    "BackgroundRunResult": {
        **_RUN_RECORD,
        **dict.fromkeys(
            ["stdout", "stderr", "stdout_text", "stderr_text", "exit_code", "returncode", "ok", "lines", "output"],
            "run_id: attach_run(run_id) of the VM gives a handle whose wait gives the result",
        ),
    },
    "RunSummary": _RUN_RECORD,
    "Vm": {
        **dict.fromkeys(
            ["run", "start", "delete", "fork", "files", "sync", "upload", "download", "upload_dir", "download_dir"],
            "vm_id: vm(vm_id) of the client gives a handle that has it, and iter_vms gives such handles",
        ),
        "id": "vm_id",
    },
    "Session": {
        **dict.fromkeys(["run", "start"], "session_id, which run and start of the VM take"),
        **dict.fromkeys(["delete", "close", "kill"], "session_id, which delete_session of the VM takes"),
        "id": "session_id",
    },
    "Tunnel": {
        **dict.fromkeys(["delete", "close"], "tunnel_key, which delete_tunnel of the VM takes"),
        **dict.fromkeys(["request"], "url, or tunnel of the VM, whose block gives a handle that has it"),
    },
    "Filesystem": {
        "delete": "filesystem_id, which delete_filesystem of the client takes",
        "id": "filesystem_id",
    },
    "RunFailedError": {**_EXIT_CODE, "output": "stdout_text, or stdout for bytes"},
}
"""For each class, or a class and its blocking twin: names from elsewhere, and what there is in place of them."""
_PARTS: Final = frozenset(["_client", "_vm", "_vmfiles"])
"""The packages with the parts of public classes."""


def instead(self: object, name: str) -> object:
    """Look up a name that a value does not have, as its class's ``__getattr__``.

    Raises:
        AttributeError: It says what to use, if the name is one from elsewhere.
    """
    for cls in type(self).__mro__:
        told = INSTEAD.get(cls.__name__.removeprefix("Async"), {}) | INSTEAD.get(cls.__name__, {})
        if name in told:
            text = f"{type(self).__name__!r} object has no attribute {name!r}; use {told[name]}"
            raise AttributeError(text, name=name, obj=self)
    # Python's own error, or that of a property.
    return object.__getattribute__(self, name)


def no_plain_block(self: object) -> NoReturn:
    """Refuse a ``with`` block, as ``__enter__`` of what takes an ``async with`` block.

    Raises:
        TypeError: Always; it says what to use.
    """
    classes = [cls.__name__ for cls in type(self).__mro__]
    # Some values are of a private class of their own.
    name = next((name for name in classes if name.startswith("Async")), classes[0])
    blocking = name.removeprefix("Async")
    blocking += "Handle" * (blocking in ("Session", "Tunnel"))
    twin = f"; `with` is for {blocking} of arker_sync" if name.startswith("Async") else ""
    raise TypeError(f"{name} takes `async with`, in a coroutine{twin}")


async def no_async_block(self: object) -> NoReturn:
    """Refuse an ``async with`` block, as ``__aenter__`` of what takes a ``with`` block.

    Raises:
        TypeError: Always; it says what to use.
    """
    raise TypeError(
        f"{type(self).__name__} takes `with`; `async with` is for the asyncio client, AsyncArker, and its VMs"
    )


def no_plain_loop(self: object) -> NoReturn:
    """Refuse a ``for`` loop, as ``__iter__`` of what takes an ``async for`` loop.

    Raises:
        TypeError: Always; it says what to use.
    """
    raise TypeError("the items are fetched as the iteration goes on: use `async for`, in a coroutine")


def no_end(self: object, *_: object) -> None:
    """Do nothing, as ``__exit__`` or ``__aexit__`` of a block that never begins."""


def whole(cls: type[T]) -> type[T]:
    """Give the methods that come from a class's parts its name, which messages and tracebacks show.

    Its initializer tells of arguments from elsewhere.

    Their modules stay: libraries such as pydantic look up there what annotations name.
    """
    for part in cls.__mro__[1:]:
        if _PARTS.isdisjoint(part.__module__.split(".")):
            continue
        for name, value in vars(part).items():
            found = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            # What is wrapped as well: a coroutine has the name of the function that made it.
            for function in (found, getattr(found, "__wrapped__", None)):
                if isinstance(function, FunctionType) and function.__qualname__ == f"{part.__qualname__}.{name}":
                    function.__qualname__ = f"{cls.__qualname__}.{name}"
    return guide(cls)


def findable(part: type) -> None:
    """Let the methods of a part be found by the name of the whole class, as ``__init_subclass__`` of the parts' bases.

    A pickle of ``AsyncVM.run`` names the function's module, which is that of the part, and the function's name. The
    process that reads it may have loaded nothing yet.
    """
    module = part.__module__
    if not _PARTS.isdisjoint(module.split(".")):
        vars(sys.modules[module]).setdefault("__getattr__", partial(_public_class, module))


def _public_class(module: str, name: str) -> object:
    package = sys.modules[module.partition(".")[0]]
    if name not in package.__all__:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(package, name)


def not_by_hand(cls: type) -> TypeError:
    """Return the error for a caller who makes an object that only the client makes."""
    client = "Async" * cls.__name__.startswith("Async") + "Arker"
    source = (
        f"{client}.fork, vm(id) and get_vm(id) return"
        if cls.__name__.endswith("VM")
        else f"{client} and its VMs return"
    )
    return TypeError(f"{cls.__name__} objects are not made by hand: {source} them")


__all__ = [
    "CLOSED",
    "INSTEAD",
    "findable",
    "instead",
    "no_async_block",
    "no_end",
    "no_plain_block",
    "no_plain_loop",
    "not_by_hand",
    "whole",
]
