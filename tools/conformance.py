"""The frameworks' suites against the adapters, each in an environment of its own, and the table of what they found.

``python -m tools.conformance`` prints the table and fails if a suite does; with ``--write`` it becomes a page of the
docs. Names of frameworks after it choose some of them; the page keeps its rows of the others.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final
from xml.etree import ElementTree

from attrs import evolve, frozen

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "conformance.md"
PLACE: Final = ROOT / ".nox" / "frameworks"
_HEAD: Final = """\
# Conformance

What the frameworks' own suites say of the [integrations](integrations/index.md), on the embedded backend, each in an
environment of its own. `nox -s conformance` runs them and prints the table; with `-- --write` it writes this page anew.

"""


@frozen
class Framework:
    """A framework, by the name of its extra, its adapter and its suite."""

    name: str
    distribution: str
    suite: str
    pythons: Sequence[str] = ("3.11", "3.12", "3.13")
    needs: Sequence[str] = ()
    release: str = ""
    """A release to try instead of the newest that the extra allows."""

    @property
    def module(self) -> str:
        """The name of the adapter's file, with which those of the suite begin."""
        return self.name.replace("-", "_")


_LANGCHAIN: Final = "langchain_tests.integration_tests.SandboxIntegrationTests"

FRAMEWORKS: Final = (
    Framework("fsspec", "fsspec", "`fsspec.tests.abstract`, and ours", needs=("pandas", "universal_pathlib")),
    Framework("pydantic-ai", "pydantic-ai-slim", "`pydantic_ai.workspaces.conformance`, and ours"),
    Framework("inspect-ai", "inspect-ai", "`inspect_ai.util._sandbox.self_check`, and ours", needs=("types-pyyaml",)),
    *(
        Framework(
            "deepagents",
            "deepagents",
            f"`{_LANGCHAIN}`, and ours",
            needs=("langchain-tests>=1.1.9,<1.2",),
            release=release,
        )
        for release in ("0.6.12", "")
    ),
    Framework("harbor", "harbor", "ours, by `harbor run -a oracle`", pythons=("3.12", "3.13")),
    Framework("openai-agents", "openai-agents", "ours, by its documentation"),
)


@frozen(kw_only=True)
class Outcome:
    """What a suite has come to."""

    framework: Framework
    version: str = ""
    python: str = ""
    passed: int = 0
    failed: int = 0
    left_out: Sequence[tuple[str, str]] = ()
    seconds: float = 0
    problem: str = ""
    failures: Sequence[str] = ()

    @property
    def row(self) -> str:
        """The outcome's row of the table."""
        name = f"[{self.framework.name}](integrations/{self.framework.name}.md)"
        if not self.python:
            return f"| {name} | | | {self.framework.suite} | not run: {self.problem} | | | |"
        counts = f"{self.passed} | {self.failed} | {len(self.left_out)} | {self.seconds:.0f}"
        return f"| {name} | {self.version} | {self.python} | {self.framework.suite} | {counts} |"


def find_python(versions: Sequence[str]) -> tuple[str, str] | None:
    """Return the first of the versions that is there and works, and its program."""
    for version in versions:
        program = shutil.which(f"python{version}")
        if program and not subprocess.run([program, "-c", ""], capture_output=True, check=False).returncode:
            return version, program
    return None


def run(framework: Framework) -> Outcome:
    """Make the framework's environment, check the adapter's types, and run the suite."""
    found = find_python(framework.pythons)
    if found is None:
        return Outcome(framework=framework, problem=f"none of Python {', '.join(framework.pythons)} is here")
    version, program = found
    place = PLACE / "-".join(part for part in (framework.name, framework.release, version) if part)
    python = str(place / "bin" / "python")
    if not Path(python).exists():
        subprocess.run([program, "-m", "venv", place], check=True)
    packages = ["-e", f"{ROOT}[emulator,{framework.name}]", "pytest>=8.3", "mypy>=1.14", *framework.needs]
    if framework.release:
        packages.append(f"{framework.distribution}=={framework.release}")
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    ask = f"import importlib.metadata as m; print(m.version({framework.distribution!r}))"
    release = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    types = [python, "-m", "mypy", "--python-version", version, f"arker/integrations/{framework.module}.py"]
    typed = subprocess.run(types, cwd=ROOT, check=False)
    report = place / "report.xml"
    report.unlink(missing_ok=True)
    suites = sorted(str(path) for path in (ROOT / "tests" / "conformance").glob(f"suite_{framework.module}*.py"))
    # The project's own settings and fixtures are for its own suite: warnings of frameworks are theirs.
    options = ["-q", "-o", "addopts=", "-o", "filterwarnings=default", "--import-mode=importlib", "--strict-markers"]
    began = time.monotonic()
    command = [python, "-m", "pytest", *options, "--confcutdir=tests/conformance", f"--junitxml={report}", *suites]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    outcome = read(framework, report, version=release, python=version, seconds=time.monotonic() - began)
    problems = [*(["mypy finds mistakes"] if typed.returncode else []), *([f"pytest ends with {code}"] if code else [])]
    return evolve(outcome, problem=", ".join(problems))


def run_all(frameworks: Sequence[Framework]) -> list[Outcome]:
    """Run two at a time, each in a process of its own: one may install while the other one's tests wait."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        pending = [pool.submit(run_aside, framework) for framework in frameworks]
        for done in as_completed(pending):
            print(done.result()[1], flush=True)
    return [each.result()[0] for each in pending]


def run_aside(framework: Framework) -> tuple[Outcome, str]:
    """Run one. Return also what was printed meanwhile, which would be mixed with what the other one prints."""
    os.environ["PIP_COMPILE"] = "0"  # most of what a framework brings is never imported
    began = time.monotonic()
    with TemporaryFile() as output:
        streams = [os.dup(1), os.dup(2)]
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        try:
            outcome = run(framework)
        except subprocess.CalledProcessError as error:
            outcome = Outcome(framework=framework, python="?", problem=f"{error.cmd} ends with {error.returncode}")
        finally:
            for number, stream in enumerate(streams, 1):
                os.dup2(stream, number)
                os.close(stream)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    return outcome, f"--- {framework.name}, {time.monotonic() - began:.0f} s with its installation\n{text}"


def read(framework: Framework, report: Path, *, version: str, python: str, seconds: float) -> Outcome:
    """Read pytest's report."""
    passed = 0
    failures: list[str] = []
    left_out: list[tuple[str, str]] = []
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - written by pytest just before
        name = str(case.get("name"))
        if case.find("failure") is not None or case.find("error") is not None:
            failures.append(name)
        elif (skipped := case.find("skipped")) is not None:
            left_out.append((name, str(skipped.get("message"))))
        else:
            passed += 1
    return Outcome(
        framework=framework,
        version=version,
        python=python,
        passed=passed,
        failed=len(failures),
        failures=failures,
        left_out=left_out,
        seconds=seconds,
    )


def page(outcomes: Sequence[Outcome], before: str = "") -> str:
    """Return the page of the docs. What a page from before says of frameworks that are not among these stays."""
    results: list[str] = []
    left_out: list[str] = []
    for name in dict.fromkeys(framework.name for framework in FRAMEWORKS):
        chosen = [outcome for outcome in outcomes if outcome.framework.name == name]
        results += [outcome.row for outcome in chosen]
        left_out += [f"| {name} | `{test}` | {reason} |" for outcome in chosen for test, reason in outcome.left_out]
        if not chosen:
            results += [line for line in before.splitlines() if line.startswith(f"| [{name}]")]
            left_out += [line for line in before.splitlines() if line.startswith(f"| {name} |")]
    lines = ["| framework | version | Python | suite | passed | failed | left out | seconds |", "| --- " * 8 + "|"]
    lines += results
    if left_out:
        lines += ["", "## Left out", "", "| framework | test | reason |", "| --- | --- | --- |", *left_out]
    return _HEAD + "\n".join(lines) + "\n"


def main() -> int:
    """Run the suites."""
    parser = argparse.ArgumentParser(prog="python -m tools.conformance", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the page of the docs anew")
    names = [framework.name for framework in FRAMEWORKS]
    parser.add_argument("frameworks", nargs="*", choices=[*names, []], help="only these")
    arguments = parser.parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    chosen = [each for each in FRAMEWORKS if not arguments.frameworks or each.name in arguments.frameworks]
    outcomes = run_all(chosen)
    print(page(outcomes))
    for outcome in outcomes:
        for failure in outcome.failures:
            print(f"failed: {outcome.framework.name}: {failure}")
        if outcome.python and outcome.problem:
            print(f"{outcome.framework.name}: {outcome.problem}")
    if arguments.write:
        PAGE.write_text(page(outcomes, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return int(any(outcome.problem and outcome.python for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
