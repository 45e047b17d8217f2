"""The life of runs (contract, section 5): queue, timeout, cancellation, session state."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from arker.emulator.options import EmulatorOptions
from arker.emulator.sandbox.base import LargeOutput, RunExit, RunHandle, RunSpec, SandboxError
from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.ids import new_ulid
from arker.emulator.server.journal.journal import COMMAND_BOUND
from arker.emulator.server.keeper import Key
from arker.emulator.server.outputs import Output, StoredOutput, after_vm, store
from arker.emulator.server.records import Killable, RunRecord, SessionRecord, StopReason, VmRecord

PAUSE: Final = 0.2
"""Seconds before something is tried again for which resources were lacking."""
_KILLED: Final = 128 + signal.SIGKILL


def accept(
    backend: Backend,
    vm: VmRecord,
    session: SessionRecord,
    *,
    command: str,
    timeout: float | None,
    key: str | None,
    acquire: str | None = None,
    release: str | None = None,
    patience: float = 0.0,
    entry: Key | None = None,
) -> RunRecord:
    """Record a run and start it, or queue it behind the session's others. The run belongs to the server, not to the
    connection of the request.

    Raises:
        ServiceError: There is no room to record it.
    """
    run = new_run(
        backend, vm, session, command=command, timeout=timeout, acquire=acquire, release=release, patience=patience
    )
    if entry is not None:
        entry.entry.subject = f"run {run.run_id}"
    backend.keeper.add_run(run, entry)
    begin(backend, run, key)
    return run


def new_run(
    backend: Backend,
    vm: VmRecord,
    session: SessionRecord,
    *,
    command: str,
    timeout: float | None = None,
    acquire: str | None = None,
    release: str | None = None,
    patience: float = 0.0,
) -> RunRecord:
    """Return a run that is not on record yet."""
    now = backend.clock.now_ms()
    vm.last_active_ms = now
    return RunRecord(
        run_id=new_ulid(now),
        seq=backend.next_number(),
        vm=vm,
        session=session,
        command=command,
        timeout=timeout,
        started_ms=now,
        state="pending" if session.pending else "running",
        acquire=acquire,
        release=release,
        patience=patience,
    )


def begin(backend: Backend, run: RunRecord, key: str | None) -> None:
    """Start a run that is on record, or queue it behind the session's others."""
    run.vm.runs[run.run_id] = run
    run.session.pending += 1
    enqueue(backend, run, key)


def enqueue(backend: Backend, run: RunRecord, key: str | None) -> None:
    """Start a run that its session counts already, or queue it behind the session's others."""
    backend.spawn(_execute(backend, run, key))


async def stop(backend: Backend, run: RunRecord, reason: StopReason) -> None:
    """Stop a run and everything that it started, and wait until it has ended."""
    condemn(backend, run, reason)
    if run.handle is not None:
        await _kill(run.handle)
    # Without a handle it is about to start. The starting task checks the reason.
    await run.done.wait()


def condemn(backend: Backend, run: RunRecord, reason: StopReason) -> None:
    """Set the reason why a run ends. A queued run never starts; a started one has to be killed by the caller."""
    if run.done.is_set():
        return
    _note(backend, run, reason)
    if run.session.current is not run:
        settle_stopped(run)
        _finish(backend, run)


def _note(backend: Backend, run: RunRecord, reason: StopReason) -> None:
    """Note why a run ends. A server that goes on after this one must not run it again."""
    if run.stop_reason is None:
        run.stop_reason = reason
        backend.keeper.stop_run(run)


async def stop_session(backend: Backend, vm: VmRecord, session: SessionRecord) -> None:
    """End a session that can no longer be found: its runs, the queued ones first, and what they left behind."""
    going = [run for run in vm.runs.values() if run.session is session and not run.done.is_set()]
    await asyncio.gather(*[stop(backend, run, "session deleted") for run in reversed(going)])
    await asyncio.gather(*[_kill(handle) for handle in session.handles])


async def _execute(backend: Backend, run: RunRecord, key: str | None) -> None:
    session = run.session
    async with session.lock:
        if run.done.is_set():
            return
        if backend.closing:
            _fail(run, "the server has ended")
            _finish(backend, run)
            return
        session.current = run
        if run.state == "pending":
            run.state = "running"
            backend.keeper.start_run(run)
        try:
            try:
                exit_ = await _run_command(backend, run, key)
            finally:
                await _put_away(backend, run)
            _settle(run, exit_, backend.options)
        except SandboxError as error:
            if run.stop_reason is None:
                _fail(run, str(error))
            else:
                settle_stopped(run)
        except Exception:
            logger.exception("run %s ended by an error of the server", run.run_id)
            _fail(run, "the server failed while running the command")
        finally:
            session.current = None
            _finish(backend, run)


async def _run_command(backend: Backend, run: RunRecord, key: str | None) -> RunExit:
    session = run.session
    spec = RunSpec(
        command=run.command,
        cwd=session.cwd,
        env=session.env,
        output_limit=backend.options.output_limit,
        spool=backend.spool_dir,
        late_output=backend.options.late_output,
        whole=backend.generation.whole_runs,
    )
    started = await _start(backend, run, spec, key)
    if isinstance(started, RunExit):
        return started
    handle = started
    run.launched_at = time.perf_counter()
    run.handle = handle
    session.handles.add(handle)
    run.started.set()
    timer: asyncio.TimerHandle | None = None
    if run.stop_reason is not None:
        await _kill(handle)
    elif run.timeout is not None:
        timer = asyncio.get_running_loop().call_later(run.timeout, _expire, backend, run, handle)
    try:
        return await handle.wait()
    finally:
        if timer is not None:
            timer.cancel()


async def _start(backend: Backend, run: RunRecord, spec: RunSpec, key: str | None) -> RunHandle | RunExit:
    """Start the command. If the machine lacks resources, it is tried again for as long as the run may wait."""
    end = time.monotonic() + run.patience
    noted = False
    while True:
        async with backend.starts:
            if run.stop_reason is not None or backend.closing:
                return RunExit(exit_code=None, reason="the server has ended")
            if not noted:
                backend.journal.note_execution(run, key)
                noted = True
            try:
                return await run.vm.sandbox.run(spec)
            except SandboxError as error:
                if error.code != "resource_pressure" or time.monotonic() + PAUSE > end:
                    raise
        await asyncio.sleep(PAUSE)


def _expire(backend: Backend, run: RunRecord, handle: RunHandle) -> None:
    _note(backend, run, "timeout")
    backend.spawn(_kill(handle))


async def _kill(handle: Killable) -> None:
    try:
        await handle.kill()
    except SandboxError as error:
        # The VM has died. Then the run ends by itself.
        logger.debug("a run could not be killed: %s", error)


def _settle(run: RunRecord, exit_: RunExit, options: EmulatorOptions) -> None:
    run.exit_code = exit_.exit_code
    if exit_.cwd is not None:
        run.session.cwd = exit_.cwd
    if exit_.env is not None:
        run.session.env = dict(exit_.env)
    dropped = 0 if run.handle is None else run.handle.dropped()
    if exit_.exit_code is not None:
        run.state = "completed"
        failure = None if run.handle is None else run.handle.spool_failure()
        if dropped and failure is not None:
            run.fail_reason = f"{dropped} bytes of output were dropped, for which the server had no place: {failure}"
        elif dropped:
            run.fail_reason = f"{dropped} bytes of output beyond the limit of {options.output_limit} were dropped"
        elif exit_.cut:
            run.fail_reason = (
                f"output that came more than {options.late_output:g} s after the command's end (late_output) was "
                "dropped: a process that the command's output goes through was still at work"
            )
    elif run.stop_reason is not None:
        settle_stopped(run)
        if exit_.killed >= 0.9 * options.process_limit:  # supervisors count, too
            reason = f"{exit_.killed} processes were killed: the VM had reached its limit of {options.process_limit}"
            run.fail_reason = reason if run.fail_reason is None else f"{run.fail_reason}; {reason}"
    else:
        _fail(run, exit_.reason or "the command ended without a status")


def settle_stopped(run: RunRecord) -> None:
    """Set what has become of a run that was to end."""
    if run.stop_reason == "cancelled":
        run.state = "cancelled"
    elif run.stop_reason == "timeout":
        _fail(run, f"timeout: the command was killed after {run.timeout:g} s")
    elif run.stop_reason == "reset":
        _fail(run, "the server was reset")
    elif run.stop_reason == "session deleted":
        run.state, run.fail_reason = "cancelled", "the session was deleted"
    else:
        _fail(run, "the VM was deleted")


def _fail(run: RunRecord, reason: str) -> None:
    run.state = "cancelled" if run.stop_reason == "cancelled" else "failed"
    run.fail_reason = reason


def _finish(backend: Backend, run: RunRecord) -> None:
    if run.done.is_set():
        return
    if run.handle is not None:
        if not run.put_away:
            run.kept_stdout, run.kept_stderr = _taken(run.handle.stdout()), _taken(run.handle.stderr())
        run.handle.release()
        run.handle = None
    run.ended_at = time.perf_counter()
    run.completed_ms = run.vm.last_active_ms = max(backend.clock.now_ms(), run.started_ms)
    run.session.pending -= 1
    wanted = run.stop_reason is not None or run.signalled is not None
    if wanted or not (backend.closing and run.exit_code in {None, _KILLED}):  # else the server's end has ended it
        backend.keeper.end_run(run)
    run.started.set()
    run.done.set()
    run.storing = backend.spawn(_store_output(backend, run))


async def _put_away(backend: Backend, run: RunRecord) -> None:
    """Put the outputs of a run that has ended where they outlive the server, before its end is recorded."""
    if not backend.keeper.lasting or run.handle is None:
        return
    outputs: list[Output] = []
    for output in (_taken(run.handle.stdout(), lasting=True), _taken(run.handle.stderr(), lasting=True)):
        try:
            outputs.append(await store(output, backend.spool_dir, lasting=True))
        except OSError as error:
            logger.warning("some output of run %s is in memory only: %s", run.run_id, error)
            outputs.append(output)
    run.kept_stdout, run.kept_stderr = outputs
    run.put_away = True


def _taken(output: Output, *, lasting: bool = False) -> Output:
    return StoredOutput(output, lasting=lasting) if isinstance(output, LargeOutput) else output


async def _store_output(backend: Backend, run: RunRecord) -> None:
    if run.vm.deleted or run.put_away:  # at most a reply or two, never requested again
        return
    try:
        run.kept_stdout = await store(run.kept_stdout, backend.spool_dir)
        run.kept_stderr = await store(run.kept_stderr, backend.spool_dir)
    except OSError as error:
        logger.warning("some output of run %s stays in memory: %s", run.run_id, error)


@contextmanager
def reading(run: RunRecord) -> Generator[None]:
    """Keep the run's output readable inside this context, even if its VM is deleted."""
    run.readers += 1
    try:
        yield
    finally:
        run.readers -= 1
        if run.vm.deleted:
            _let_go(run)


async def discard_runs(vm: VmRecord) -> None:
    """Discard the runs of a deleted VM once they have ended. What stays, for repeated requests, is small."""
    for run in tuple(vm.runs.values()):
        await run.done.wait()
        if run.storing is not None:
            await run.storing
        _let_go(run)
    vm.runs.clear()


def _let_go(run: RunRecord) -> None:
    if run.done.is_set() and not run.readers:
        run.kept_stdout, run.kept_stderr = after_vm(run.kept_stdout), after_vm(run.kept_stderr)
        run.command = run.command[:COMMAND_BOUND]


__all__ = [
    "PAUSE",
    "accept",
    "begin",
    "condemn",
    "discard_runs",
    "enqueue",
    "new_run",
    "reading",
    "settle_stopped",
    "stop",
    "stop_session",
]
