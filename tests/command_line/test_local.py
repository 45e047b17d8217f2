"""``arker emulator``, ``--local``, ``arker doctor`` and ``--version``; and the program without the extra."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from arker import config
from arker._cli import local
from arker._cli.names import PLAIN, WITH_EXTRA
from tests.command_line.support import ROOT, Program
from tests.support.secrets import API_KEY


@contextmanager
def backend(program: Program, *options: str) -> Generator[tuple[subprocess.Popen[bytes], dict[str, str]], None, None]:
    """Run ``arker emulator``. Yields its process and what its first line says."""
    with program.forked("emulator", *options) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        while not process.stdout.readline().startswith(b"In other terminals"):
            pass
        yield process, facts
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


def records(program: Program) -> list[Path]:
    return [*Path(program.env["XDG_STATE_HOME"], "arker").glob("*")]


def regions(program: Program) -> list[str]:
    """Return the regions of the backend that `--local` finds."""
    return [each["region"] for each in program("regions", "--local", "--json").json]


def test_local_finds_the_backend_that_runs_and_no_other(bare: Program) -> None:
    with backend(bare) as (_, facts):
        assert [stat.S_IMODE(path.stat().st_mode) for path in records(bare)] == [0o600]
        made = bare.good("--local", "fork", "ubuntu", "--name", "web").strip()
        assert bare.good("run", "--local", "web", "--", "hostname") == "vm\n"
        assert [vm["vm_id"] for vm in bare("ls", "--local", "--json").json] == [made]
        assert facts["api_key"] not in bare.good("ls", "--local", "--json")
    assert records(bare) == []
    # None runs, so this one is the command's own.
    done = bare("fork", "ubuntu", "--local")
    assert done.status == 0
    assert "ends with it" in done.err
    assert bare.good("ls", "--local", "--json") == "[]\n"


def test_local_takes_the_backend_that_was_started_last(bare: Program) -> None:
    with backend(bare, "--region", "first"):
        with backend(bare, "--region", "second"):
            assert regions(bare) == ["second"]
        assert regions(bare) == ["first"]
        with backend(bare, "--region", "third") as (third, _):
            assert regions(bare) == ["third"]
            third.kill()
            third.wait(60)
            # Its file is there, and nothing holds its lock.
            assert len(records(bare)) == 2
            assert regions(bare) == ["first"]
            third.returncode = 0
        with backend(bare, "--region", "fourth"):
            assert len(records(bare)) == 2, "what was left behind is removed"
    assert records(bare) == []


def test_options_of_the_backend_are_passed_on(bare: Program) -> None:
    done = bare("emulator", "--isolation", "weak")
    assert done.status == 1
    assert done.err.startswith("error: isolation='weak'")
    assert bare("emulator", "--no-such").status == 2
    assert "usage: arker emulator" in bare.good("emulator", "--help")
    assert records(bare) == []


def test_a_file_that_others_can_read_is_no_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert local.find() is None
    with local.announced() as announcement:
        assert announcement.begin("http://127.0.0.1:1/api", "a-token")
        (path,) = (tmp_path / "arker").iterdir()
        assert local.find() == local.Backend("http://127.0.0.1:1/api", "a-token")
        assert "a-token" not in repr(local.find())
        path.chmod(0o644)
        assert local.find() is None
        path.chmod(0o600)
        # Other files, though they are newer: none has a lock.
        written = path.with_name("emulator-written.json")
        written.write_text('{"url": "http://127.0.0.1:2/api", "api_key": "b-token"}')
        written.chmod(0o600)
        path.with_name("emulator-link.json").symlink_to(path)
        os.mkfifo(path.with_name("emulator-pipe.json"), 0o600)
        assert local.find() == local.Backend("http://127.0.0.1:1/api", "a-token")
        with local.announced() as other:
            assert other.begin("http://127.0.0.1:3/api", "c-token")
            assert not written.exists()
            assert local.find() == local.Backend("http://127.0.0.1:3/api", "c-token")
        assert local.find() == local.Backend("http://127.0.0.1:1/api", "a-token")
    assert local.find() is None
    assert not path.exists()


def test_without_a_place_for_the_file_a_backend_runs_all_the_same(bare: Program) -> None:
    Path(bare.env["XDG_STATE_HOME"]).write_text("no directory")
    with bare.started("emulator") as process:
        assert process.stdout is not None
        while not (line := process.stdout.readline()).startswith(b"`--local` does not find it"):
            assert line
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_doctor_says_what_works_and_never_the_key(bare: Program) -> None:
    env = {"ARKER_API_KEY": API_KEY, "ARKER_REGION": "us-west-2", "ARKER_LEDGER": "off"}
    done = bare.with_env(env)("doctor")
    assert done.status == 0, done
    assert API_KEY not in done.out + done.err
    for words in ("(set, not shown)  (ARKER_API_KEY)", "https://aws-us-west-2.arker.ai/api", "off  (ARKER_LEDGER)"):
        assert words in done.out
    found = bare.with_env(env)("doctor", "--json").json
    assert found["problem"] is None
    assert {"name": "region", "value": "us-west-2", "origin": "ARKER_REGION"} in found["configuration"]
    verdicts = {each["part"]: each["verdict"] for each in found["findings"]}
    assert verdicts["isolation"] == verdicts["start"] == "ok"


def test_doctor_says_what_is_wrong(bare: Program, tmp_path: Path) -> None:
    done = bare("doctor", ARKER_BASE_URL="http://example.com/api", ARKER_API_KEY=API_KEY)
    assert done.status == 1
    assert "ARKER_BASE_URL='http://example.com/api' is not accepted" in done.out
    tmp_path.joinpath("file").touch()
    done = bare("doctor", TMPDIR=str(tmp_path / "file"), PATH="/nonexistent")
    assert "without an API key" in done.out
    assert bare("doctor", "--no").status == 2


def test_settings_are_explained() -> None:
    found = config.explain_settings({"AUTH_KEY": API_KEY, "ARKER_REGION": "aws-us-west-2", "ARKER_PROVIDER": "gcp"})
    rows = {name: (value, origin) for name, value, origin in found.rows}
    assert rows["API key"] == ("(set, not shown)", "AUTH_KEY")
    assert rows["base URL"] == ("https://aws-us-west-2.arker.ai/api", "of provider and region")
    assert rows["burst base URL"] == ("(none)", "not set")
    assert rows["generation"] == ("auto", "default")
    assert found.words is None
    assert found.is_valid
    assert "region" in str(config.explain_settings({"ARKER_API_KEY": API_KEY}).words)
    bad = config.explain_settings({"ARKER_API_KEY": "\x00bad", "ARKER_REGION": "x"})
    assert not bad.is_valid
    assert "bad" not in repr(bad)


WITHOUT = """
import sys

sys.modules.update(cyclopts=None, rich=None)
from arker._cli.program import main
sys.exit(main())
"""


def test_without_the_extra(bare: Program) -> None:
    def run(*words: str) -> Any:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", WITHOUT, *words],
            env={**bare.env, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("ls")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'arker: ls needs an extra: pip install "arker-async[cli]"\n'
    assert run("run", "web", "--", "true").returncode == 125
    done = run("nothing")
    assert (done.returncode, done.stderr) == (2, "arker: there is no command 'nothing'; arker --help lists them\n")
    done = run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in (*PLAIN, *WITH_EXTRA))
    assert run("--version").stdout.startswith("arker-async ")
    done = run("reap")
    assert (done.returncode, "API key" in done.stderr) == (2, True)
    done = run("doctor")
    assert (done.returncode, "extra cli" in done.stdout) == (0, True)


def test_the_program_is_installed_by_its_name() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'arker = "arker._cli.program:main"' in text
    done = subprocess.run(
        [sys.executable, "-m", "arker", "--version"], cwd=ROOT, env=os.environ, capture_output=True, check=True
    )
    assert done.stdout.startswith(b"arker-async ")
