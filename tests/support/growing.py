"""A run of a scripted server: what it has written grows, and it ends."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

from tests.support.clients import COMPUTE
from tests.support.server import Drop, Recorded, Reply, ok

RUNS = f"{COMPUTE}/v1/vms/vm-1/runs"
RUN = f"{RUNS}/run-1"


def output(data: bytes) -> tuple[str, str]:
    """Return a text and its encoding, as in the contract."""
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), "base64"


def run_json(stdout: bytes = b"", stderr: bytes = b"", *, state: str = "running", **more: Any) -> dict[str, Any]:
    """Return a whole run."""
    (out, out_encoding), (err, err_encoding) = output(stdout), output(stderr)
    ended = {} if state == "running" else {"completed_at": "2026-01-02T03:04:06Z"}
    return {
        "run_id": "run-1",
        "session_id": "ses-1",
        "state": state,
        "started_at": "2026-01-02T03:04:05Z",
        "exit_code": 0 if state == "completed" else None,
        **ended,
        "stdout": out,
        "stdout_encoding": out_encoding,
        "stderr": err,
        "stderr_encoding": err_encoding,
        **more,
    }


def listed(*runs: dict[str, Any], cursor: str | None = None) -> Reply:
    """Return a page of runs without their outputs."""
    outputs = {"stdout", "stdout_encoding", "stderr", "stderr_encoding"}
    summaries = [{name: value for name, value in run.items() if name not in outputs} for run in runs]
    return ok({"runs": summaries, "next_cursor": cursor})


class GrowingRun:
    """Answers the requests about one run.

    Args:
        written: Its standard output, given the seconds since it was started.
        seconds: How long it goes on.
        cut: Of so many replies one breaks off in the middle; 0 for none.
    """

    def __init__(self, written: Callable[[float], bytes], seconds: float, *, cut: int = 0) -> None:
        self._written = written
        self._seconds = seconds
        self._cut = cut
        self._began: float | None = None
        self._answers = 0
        self.read = 0
        """Bytes of the replies that had the output and arrived."""
        self.cuts = 0

    def __call__(self, request: Recorded) -> Reply:
        now = time.monotonic()
        if request.method == "POST":
            self._began = now
            return ok({"run_id": "run-1", "state": "running"})
        assert self._began is not None
        elapsed = now - self._began
        going = elapsed < self._seconds
        self._answers += 1
        if self._cut and self._answers % self._cut == 0:
            self.cuts += 1
            return Reply(body=b"x" * 100_000, drop=Drop.MID_BODY if self.cuts % 2 else Drop.RESET)
        if request.path == RUNS:
            return listed(*([run_json()] if going else []))
        state = "running" if going else "completed"
        reply = ok(run_json(self._written(min(elapsed, self._seconds)), state=state))
        self.read += len(reply.body)
        return reply


__all__ = ["RUN", "RUNS", "GrowingRun", "listed", "output", "run_json"]
