"""Runs and sessions, as they are tried before a service that drifts."""

from __future__ import annotations

from typing import Final

from arker import OutputChunk
from tests.drift.held import Held, Operation
from tests.drift.machine import ERR, OUT
from tests.drift.service import BASE

_FOLLOWED: Final = ("run", "list_runs", "get_run", "get_vm")


async def _run(held: Held) -> None:
    result = await held.call(held.vm.run("say hi", timeout=1, deadline=held.patience), "run")
    held.is_output(result, "hi")


async def _run_fraction(held: Held) -> None:
    result = await held.call(held.vm.run("say hi", timeout=0.5, deadline=held.patience), "run")
    held.is_output(result, "hi")


async def _background(held: Held) -> None:
    result = await held.call(held.vm.run("say hi", background=True), "run")
    assert result.run_id in held.service.vms[BASE].ids("runs")


async def _signal(held: Held) -> None:
    await held.call(held.vm.run("say hi", background=True), "run")
    await held.call(held.vm.run("", signal="INT", deadline=held.patience), "signal")


async def _wait(held: Held) -> None:
    run = await held.call(held.vm.start("say hi"), "run")
    held.is_output(await held.call(run.wait(deadline=held.patience)), "hi")


async def _result(held: Held) -> None:
    started = await held.call(held.vm.start("say hi"), "run")
    run = held.vm.attach_run(started.run_id)
    await held.call(run.refresh(deadline=held.patience))
    await held.call(run.wait(deadline=held.patience))
    held.is_output(await held.call(run.result(deadline=held.patience)), "hi")


async def _output(held: Held) -> None:
    run = await held.call(held.vm.start("say hi"), "run")
    chunks: list[OutputChunk] = []
    try:
        async for chunk in run.output(deadline=held.patience):
            chunks.append(chunk)
    finally:
        texts = {
            stream: b"".join(chunk.data for chunk in chunks if chunk.stream == stream)
            for stream in ("stdout", "stderr")
        }
        wanted = {"stdout": OUT.format("hi").encode(), "stderr": ERR.format("hi").encode()}
        for stream, text in wanted.items():
            if not text.startswith(texts[stream]):
                held.wrong.append(f"{stream} is not as it was written: {texts[stream]!r}")
    held.same("output", texts, wanted)


async def _lines(held: Held) -> None:
    run = await held.call(held.vm.start("say hi"), "run")
    lines = [(line.stream, line.text) async for line in run.lines(deadline=held.patience)]
    wanted = [("stderr", line) for line in ERR.format("hi").splitlines()]
    wanted += [("stdout", line) for line in OUT.format("hi").splitlines()]
    held.same("lines", sorted(lines), sorted(wanted))


async def _run_signal(held: Held) -> None:
    run = await held.call(held.vm.start("say hi"), "run")
    await held.call(run.signal("INT", deadline=held.patience), "signal")


async def _run_cancel(held: Held) -> None:
    run = await held.call(held.vm.start("say hi"), "run")
    await held.call(run.cancel(), "cancel_run")


async def _cancel(held: Held) -> None:
    run = await held.call(held.vm.start("say hi"), "run")
    await held.call(held.vm.cancel_run(run.run_id), "cancel_run")


async def _get_run(held: Held) -> None:
    held.is_output(await held.call(held.vm.get_run(held.service.vms[BASE].ids("runs")[1])), "1")


async def _list_runs(held: Held) -> None:
    page = await held.call(held.vm.list_runs())
    held.is_list("runs", [run.run_id for run in page], held.service.vms[BASE].ids("runs")[:2])
    await held.is_iterated("runs", held.vm.iter_runs(), "run_id", held.service.vms[BASE].ids("runs"))


# --- sessions --------------------------------------------------------------------------------------------------------


async def _session_block(held: Held) -> None:
    async with held.vm.open_session(env={"A": "b"}, deadline=held.patience) as session:
        await held.call(session.refresh())
        run = await held.call(session.start("say there"), "run")
        held.is_output(await held.call(run.wait(deadline=held.patience)), "there")
        held.is_output(await held.call(session.run("say hi", deadline=held.patience), "run"), "hi")


async def _session(held: Held) -> None:
    session = held.vm.open_session(deadline=held.patience)
    await held.call(session.open(), "create_session")
    held.given.append(session.id)
    await held.call(session.close(), "delete_session")


async def _create_session(held: Held) -> None:
    session = await held.call(held.vm.create_session(), "create_session")
    held.given.append(session.session_id)
    found = await held.call(held.vm.get_session(session.session_id))
    held.same("session", found.session_id, session.session_id)
    await held.call(held.vm.delete_session(session.session_id), "delete_session")


async def _ticket(held: Held) -> None:
    session = await held.call(held.vm.create_session(), "create_session")
    held.given.append(session.session_id)
    ticket = await held.call(held.vm.create_pty_ticket(session.session_id))
    held.same("ticket", ticket.ticket, "a-ticket")


async def _list_sessions(held: Held) -> None:
    there = held.service.vms[BASE].ids("sessions")
    page = await held.call(held.vm.list_sessions())
    held.is_list("sessions", [session.session_id for session in page], there[:2])
    await held.is_iterated("sessions", held.vm.iter_sessions(), "session_id", there)


OPERATIONS: Final = [
    Operation("run", ("AsyncVM.run",), _FOLLOWED, _run),
    Operation("run with a fraction", ("AsyncVM.run",), _FOLLOWED, _run_fraction),
    Operation("run in the background", ("AsyncVM.run",), ("run",), _background),
    Operation("signal", ("AsyncVM.run",), _FOLLOWED, _signal),
    Operation("start, wait", ("AsyncVM.start", "AsyncRun.wait"), _FOLLOWED, _wait),
    Operation(
        "attach, refresh, result",
        ("AsyncVM.attach_run", "AsyncRun.refresh", "AsyncRun.result"),
        _FOLLOWED,
        _result,
    ),
    Operation("output", ("AsyncRun.output",), _FOLLOWED, _output),
    Operation("lines", ("AsyncRun.lines",), _FOLLOWED, _lines),
    Operation("signal a run", ("AsyncRun.signal",), _FOLLOWED, _run_signal),
    Operation("cancel a run", ("AsyncRun.cancel",), ("run", "cancel_run"), _run_cancel),
    Operation("cancel a run by its id", ("AsyncVM.cancel_run",), ("run", "cancel_run"), _cancel),
    Operation("get a run", ("AsyncVM.get_run",), ("get_run",), _get_run),
    Operation("list runs", ("AsyncVM.list_runs", "AsyncVM.iter_runs"), ("list_runs",), _list_runs),
    Operation(
        "session in a block",
        ("AsyncVM.open_session", "AsyncSession.run", "AsyncSession.start", "AsyncSession.refresh"),
        ("create_session", "get_session", "delete_session", *_FOLLOWED),
        _session_block,
    ),
    Operation(
        "open a session", ("AsyncSession.open", "AsyncSession.close"), ("create_session", "delete_session"), _session
    ),
    Operation(
        "create a session",
        ("AsyncVM.create_session", "AsyncVM.get_session", "AsyncVM.delete_session"),
        ("create_session", "get_session", "delete_session"),
        _create_session,
    ),
    Operation("ticket", ("AsyncVM.create_pty_ticket",), ("create_session", "create_ticket"), _ticket),
    Operation("list sessions", ("AsyncVM.list_sessions", "AsyncVM.iter_sessions"), ("list_sessions",), _list_sessions),
]

__all__ = ["OPERATIONS"]
