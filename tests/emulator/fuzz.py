"""Random requests against the embedded backend: ``python -m tests.emulator.fuzz`` (extra ``fuzz``; takes minutes).

schemathesis reads the OpenAPI document of the server, and sends what fits it and what does not. It runs twice: with ids
of its own making, which seldom hit anything, and with those of a VM that is there. Every reply has to be documented, of
the documented shape and below 500; afterwards the server has to serve as before. Commands are random too, so the VMs
have to be isolated. ``--generation`` chooses what the server speaks.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from arker.emulator import Emulator

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)


class Server:
    """The server's operations that this script needs itself."""

    def __init__(self, emulator: Emulator) -> None:
        self.url = emulator.url
        self.kept = ""
        self._generation = emulator.options.generation
        self._headers = {"Authorization": f"Bearer {emulator.api_key}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=self._headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def tend(self, over: threading.Event) -> None:
        """Cancel what goes on, and delete what is forked on the way: random commands may wait without end."""
        while not over.wait(3):
            try:
                for vm in self.call("GET", "/v1/vms?limit=1000")["vms"]:
                    if vm["vm_id"] != self.kept:
                        self.call("DELETE", f"/v1/vms/{vm['vm_id']}")
                        continue
                    for run in self.call("GET", f"/v1/vms/{self.kept}/runs?state=running&limit=1000")["runs"]:
                        self.call("DELETE", f"/v1/vms/{self.kept}/runs/{run['run_id']}")
            except urllib.error.HTTPError as error:
                # schemathesis was quicker: it finds ids in lists, too.
                if error.code != 404:
                    raise

    def seed(self) -> dict[str, list[str]]:
        """Make a VM that is kept; ids of what is there and of what is not come back."""
        vm = self.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", "name": "fuzz"})
        self.kept = str(vm["vm_id"])
        path = f"/v1/vms/{self.kept}"
        session = self.call("POST", f"{path}/sessions", {})
        done = self.call("POST", f"{path}/runs", {"command": "echo; echo >&2"})
        filesystem = self.call("POST", "/v1/filesystems", {"name": "fuzz"})["filesystem_id"]
        ids = {
            "vm_id": [self.kept, "fuzz"],
            "session_id": [vm["sessions"][0]["session_id"], session["session_id"], "nobody"],
            "run_id": [done["run_id"], "nobody"],
            "filesystem_id": [filesystem, "nobody"],
        }
        if self._generation != "1":
            tunnel = self.call("POST", f"{path}/tunnels", {"ports": [8080]})
            sync = self.call("POST", f"{path}/syncs", {"filesystem_id": filesystem, "path": "/mnt/sync"})
            ids |= {"tunnel_key": [tunnel["tunnel_key"], "nobody"], "sync_id": [sync["sync_id"], "nobody"]}
        if self._generation != "0.5":
            mount = self.call("POST", f"{path}/mounts", {"filesystem_id": filesystem, "path": "/mnt/mount"})
            ids |= {"mount_id": [mount["mount_id"], "nobody"]}
        return ids

    def examine(self) -> None:
        """Return whether the server works."""
        vm = self.call("POST", "/v1/fork", {"source_vm_name": "ubuntu"})["vm_id"]
        result = self.call("POST", f"/v1/vms/{vm}/runs", {"command": "echo $((6 * 7))"})
        if (result["stdout"], result["exit_code"]) != ("42\n", 0):
            raise SystemExit(f"the server does not serve any more: {result}")
        self.call("DELETE", f"/v1/vms/{vm}")

    def tally(self) -> str:
        """How the latest requests were answered, operation by operation: whether more than refusals was reached."""
        counts: Counter[tuple[str, int]] = Counter()
        for offset in range(0, 5000, 1000):
            page = self.call("GET", f"/v1/runs?lite=true&limit=1000&offset={offset}")
            counts.update((row["endpoint"], row["status"]) for row in page["rows"])
        answers: dict[str, list[str]] = {}
        for (name, status), count in sorted(counts.items()):
            answers.setdefault(name, []).append(f"{count} x {status}")
        return "\n".join(f"  {name}: {', '.join(parts)}" for name, parts in answers.items())


def complaints(place: Path) -> list[str]:
    """Return the server's log. Refusals of requests that are not HTTP are removed: they come from aiohttp."""
    log = "".join(file.read_text("utf-8", "replace") for file in place.glob("*/server.log"))
    records = re.split(r"^(?=\d{4}-\d\d-\d\d )", log, flags=re.MULTILINE)
    return [record for record in records if record.strip() and "BadHttpMessage" not in record]


def narrowed(document: Any, ids: dict[str, list[str]]) -> Any:
    """Return the document with known ids wherever it takes any."""
    document = json.loads(json.dumps(document))
    for path in document["paths"].values():
        for operation in path.values():
            # The same few keys are tried again and again: nearly all would be conflicts.
            named = [parameter for parameter in operation["parameters"] if parameter["in"] != "header"]
            operation["parameters"] = named
            for parameter in named:
                if parameter["name"] in ids:
                    parameter["schema"] = {"type": "string", "enum": ids[parameter["name"]]}
    shapes = document["components"]["schemas"]
    shapes["ForkRequest"]["properties"]["source_vm_name"] = {"enum": ["ubuntu", "fuzz", "ubuntu-docker"]}
    shapes["ForkRequest"]["properties"]["source_vm_id"] = {"enum": ids["vm_id"]}
    shapes["RunRequest"]["properties"]["session_id"] = {"enum": ids["session_id"]}
    # Otherwise nearly every run is refused for the signal that it names.
    shapes["RunRequest"]["properties"]["signal"] = {"enum": [None, "SIGINT", "SIGTERM"]}
    shapes["SyncReadOperationRequest"]["properties"]["path"] = {"enum": ["file", "/etc/passwd", ".", "nowhere"]}
    if "image" in shapes["ForkRequest"]["properties"]:
        shapes["ForkRequest"]["properties"]["image"] = {"enum": ["ubuntu", "debian:12", "nowhere.example/x"]}
    for name in ("SyncCreateRequest", "MountCreateRequest"):
        if name in shapes:
            shapes[name]["properties"]["filesystem_id"] = {"enum": ids["filesystem_id"]}
    return document


def run(emulator: Emulator, document: Any, name: str, place: Path, *options: str) -> int:
    """Run one pass of schemathesis. Returns its exit status."""
    file = place / f"{name}.json"
    file.write_text(json.dumps(document))
    config = place / "schemathesis.toml"
    config.write_text(f'headers = {{ Authorization = "Bearer {emulator.api_key}" }}\n')
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", str(file)]
    # A command in the foreground answers when it has ended, or is cancelled by `Server.tend`.
    command += ["--url", emulator.url, "--checks", ",".join(CHECKS), "--request-timeout", "60"]
    command += ["--continue-on-failure", "--suppress-health-check", "all", *options]
    return subprocess.run(command, check=False, cwd=place).returncode


def open_to_all(directory: str) -> str:
    """Let VMs pass through the directory: those of a root server run as another user."""
    Path(directory).chmod(0o711)
    return directory


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--examples", type=int, default=150, help="cases of each operation and pass, at most")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--generation", choices=("both", "0.5", "1"), default="both", help="what the server speaks")
    arguments, rest = parser.parse_known_args()
    over = threading.Event()
    with (
        tempfile.TemporaryDirectory() as directory,
        Emulator(state_parent=open_to_all(directory), generation=arguments.generation) as emulator,
    ):
        server = Server(emulator)
        document = server.call("GET", "/openapi.json")
        tender = threading.Thread(target=server.tend, args=(over,))
        tender.start()
        try:
            options = ["--max-examples", str(arguments.examples), "--seed", arguments.seed, *rest]
            first = run(emulator, document, "any-ids", Path(directory), *options)
            # The VM has to stay.
            keep = ["--exclude-operation-id", "delete_vm"]
            second = run(emulator, narrowed(document, server.seed()), "known-ids", Path(directory), *options, *keep)
        finally:
            over.set()
            tender.join()
        server.examine()
        print("The server serves as before.", flush=True)
        print(server.tally(), flush=True)
        logged = complaints(Path(directory))
        if logged:
            print("But it has something to say:", *logged, sep="\n", flush=True)
    return first or second or (1 if logged else 0)


if __name__ == "__main__":
    sys.exit(main())
