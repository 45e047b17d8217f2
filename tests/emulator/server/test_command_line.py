"""``python -m arker.emulator``. What is not about its end is tried in processes that are forked for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import aiohttp
import pytest

from tests.emulator.server.support import ISOLATION, Api
from tests.support.children import child
from tests.support.forked import run, start

pytestmark = pytest.mark.anyio

ROOT = str(Path(__file__).parents[3])
MODULE = "arker.emulator.__main__"


def line_of(stream: IO[bytes] | None) -> str:
    assert stream is not None
    return stream.readline().decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_it_serves_until_a_signal_and_leaves_nothing(place: Path, number: signal.Signals) -> None:
    arguments = ("--isolation", ISOLATION, "--state-parent", str(place), "--region", "eu-north-1")
    command = [sys.executable, "-m", "arker.emulator", *arguments]
    with child(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        ready = json.loads(line_of(process.stdout))
        assert set(ready) == {"url", "api_key"}
        async with aiohttp.ClientSession() as session:
            api = Api(session, ready["url"], ready["api_key"])
            vm = await api.fork()
            assert vm["region"] == "eu-north-1"
            await api.background(vm["vm_id"], "sleep 60")
        process.send_signal(number)
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, err.decode()
    text = out.decode()
    for name in ("ARKER_BASE_URL", "ARKER_BURST_BASE_URL", "ARKER_CONTROL_BASE_URL"):
        assert f"export {name}={ready['url']}\n" in text
    assert f"export ARKER_API_KEY={ready['api_key']}\n" in text
    assert ready["api_key"] not in err.decode()
    assert list(place.iterdir()) == []


async def test_it_speaks_one_generation() -> None:
    arguments = ("--isolation", ISOLATION, "--generation", "1", "--foreground-window", "0.001")
    with start("module", MODULE, *arguments, env=os.environ, stderr=subprocess.DEVNULL) as process:
        ready = json.loads(line_of(process.stdout))
        async with aiohttp.ClientSession() as session:
            api = Api(session, ready["url"], ready["api_key"], "1")
            vm = (await api.fork())["vm_id"]
            assert (await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "sleep 9"})).status == 202
            assert (await api.call("POST", f"/v1/vms/{vm}/resize", {"vcpu_count": 1})).status == 404
        process.terminate()


async def test_the_key_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("the-key-in-the-file\n")
    arguments = ("--isolation", ISOLATION, "--api-key-file", str(tmp_path / "key"), "--host-port", "8000")
    with start("module", MODULE, *arguments, env=os.environ, stderr=subprocess.DEVNULL) as process:
        assert json.loads(line_of(process.stdout))["api_key"] == "the-key-in-the-file"
        process.terminate()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--port", "70000"], "port"),
        (["--isolation", "some"], "isolation"),
        (["--api-key-file", "/nowhere/key"], "/nowhere/key"),
        (["--api-key-file", sys.executable], "expected a text file"),
        (["--presigned-ttl", "0"], "presigned_ttl"),
        (["--process-limit", "1"], "process_limit"),
        (["--open-files-limit", "1"], "open_files_limit"),
        (["--spares", "101"], "spares"),
        (["--host-port", "8000", "--host-port", "0"], "host_ports"),
        (["--region", "US West"], "region"),
    ],
)
async def test_what_is_wrong_at_the_start_is_said_on_stderr(arguments: list[str], reason: str) -> None:
    done = run("module", MODULE, *arguments, env=os.environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
