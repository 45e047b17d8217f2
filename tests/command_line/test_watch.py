"""``arker watch``."""

from __future__ import annotations

import json
import signal

import pytest

from tests.command_line.support import Program
from tests.command_line.test_shell import typist


def test_one_look(arker_program: Program, web: str) -> None:
    run = arker_program.good("run", "web", "--detach", "--", "sleep 600").strip()
    text = arker_program.good("watch", "--once")
    assert web in text
    assert run in text
    found = arker_program("watch", "web", "--once", "--json").json
    assert [vm["name"] for vm in found["vms"]] == ["web"]
    assert run in [each["run_id"] for each in found["runs"]]
    assert "not_found" in arker_program.bad(1, "watch", "nothing")
    assert "--interval" in arker_program.bad(2, "watch", "--interval", "soon")


@pytest.mark.parametrize("as_json", [False, True])
def test_each_change_is_a_line_in_a_pipe(arker_program: Program, web: str, as_json: bool) -> None:
    options = ("--json",) if as_json else ()
    with arker_program.forked("watch", "--interval", "0.05s", *options) as process:
        output = process.stdout
        assert output is not None

        def until(kind: str, key: str, state: str) -> None:
            while True:
                line = output.readline().decode()
                assert line, "it has ended"
                words = [str(json.loads(line)[name]) for name in ("kind", "id", "state")] if as_json else line.split()
                if words[:3] == [kind, key, state]:
                    return

        until("vm", web, "idle")
        run = arker_program.good("run", "web", "--detach", "--", "until test -e go; do sleep 0.02; done").strip()
        until("run", run, "running")
        arker_program.good("run", "web", "--", "touch go")
        until("run", run, "completed")
        arker_program.good("rm", "web")
        until("vm", web, "gone")
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=120)
        assert (process.returncode, complaints) == (130, b"")


def test_a_live_table_at_a_terminal(arker_program: Program, web: str) -> None:
    with typist(arker_program, "watch", "--interval", "0.1s") as person:
        person.until("web.*Ctrl-C ends it")
        other = arker_program.good("fork", "ubuntu").strip()
        person.until(other)
        person.type("\x03")
        assert person.process.wait(120) == 130
