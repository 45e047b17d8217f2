"""What several integrations need: a client, the writing of files, and a command's end by its time limit."""

from __future__ import annotations

from arker import AsyncArker, AsyncVM, models
from arker.config import has_api_key


def make_client() -> AsyncArker:
    """Make a client: of the cloud if the environment has an API key, else of an embedded backend of its own."""
    return AsyncArker() if has_api_key() else AsyncArker.local()


def timed_out(result: models.CompletedRunResult, timeout: float | None, took: float) -> bool:
    """Tell whether a command was killed because of its ``timeout``. Generation 1 of the API gives no reason."""
    if timeout is None or result.state == "completed":
        return False
    return "timeout" in result.fail_reason if result.fail_reason else took >= timeout


async def write_file(vm: AsyncVM, path: str, data: bytes) -> None:
    """Write a file, with missing directories above it; one that the VM's user may not write is an error."""
    try:
        await vm.files.write_bytes(path, data)
    except FileNotFoundError:
        await vm.files.write_bytes(path, data, parents=True)


__all__ = ["make_client", "timed_out", "write_file"]
