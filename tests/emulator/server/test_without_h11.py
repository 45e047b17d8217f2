"""The backend where the extra ``emulator`` is not installed: what needs its library is refused, the rest works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, json, sys, warnings
sys.path.insert(0, sys.argv[1])
try:
    import h11
except ImportError:
    pass
else:
    raise AssertionError("h11 is there")
from arker import AsyncArker, UnsupportedOperationError

async def refused(work):
    try:
        await work
    except UnsupportedOperationError as error:
        return str(error)
    raise AssertionError("it was not refused")

async def main():
    messages = {}
    async with AsyncArker.local(host_ports=[9]) as ar:
        vm = await ar.fork("ubuntu")
        assert (await vm.run("echo hi")).stdout_text == "hi\\n"
        await vm.sync("file", b"data")
        assert await vm.sync("file") == b"data"
        assert (await (await vm.fork()).run("cat file")).stdout_text == "data"
        assert (await (await ar.fork("ubuntu", network="blocked")).run("true")).exit_code == 0
        messages["tunnel"] = await refused(vm.create_tunnel(ports=[80]))
        messages["run"] = await refused(vm.run("true", network={"inbound": {"ports": {"80": {}}}}))
        for network in ("open", {"type": "allow", "allow": ["example.com"]}, {"type": "block", "block": []}):
            messages[f"fork {network}"] = await refused(ar.fork("ubuntu", network=network))
        messages["fork with a tunnel"] = await refused(ar.fork("ubuntu", tunnel={"ports": [80]}))
        count = len([vm async for vm in ar.iter_vms()])
        assert count == 3, count
        for url in ("http://host.arker.internal:9/", "https://host.arker.internal:9/"):
            out = await vm.run(f"curl -sS -i --max-time 60 {url}; true")
            messages[url] = out.stdout_text + out.stderr_text
        assert (await vm.run("echo still here")).stdout_text == "still here\\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with AsyncArker.local(isolation="none") as ar:
            vm = await ar.fork("ubuntu", network="open")
            assert (await vm.run("echo hi")).stdout_text == "hi\\n"
            messages["tunnel without isolation"] = await refused(vm.create_tunnel(ports=[80]))
    print(json.dumps(messages))

asyncio.run(main())
"""
EXTRA = "arker-async[emulator]"


def test_commands_and_files_work_and_the_rest_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "h11.py").write_text("raise ModuleNotFoundError(\"No module named 'h11'\", name='h11')\n")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    messages: dict[str, str] = json.loads(done.stdout)
    assert [what for what, message in messages.items() if EXTRA not in message] == []
    plain = messages["http://host.arker.internal:9/"]
    assert plain.startswith(f"HTTP/1.1 501 Not Installed: {EXTRA}\r\n")
    assert '"unsupported_operation"' in plain
