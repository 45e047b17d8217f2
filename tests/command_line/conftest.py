"""The program on the session's embedded backend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arker.emulator import Emulator
from tests.command_line.support import Program, Runner


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tmp_path_factory.mktemp("commands"))


@pytest.fixture
def bare(runner: Runner, tmp_path: Path) -> Program:
    """Return the program without settings."""
    home = tmp_path / "home"
    home.mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "LANG": "C.UTF-8"}
    return Program(runner, {**env, "SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}, tmp_path)


@pytest.fixture
def arker_program(bare: Program, arker_emulator: Emulator) -> Program:
    """Return the program with the settings of an embedded backend that is as new."""
    arker_emulator.reset()
    names = ("ARKER_BASE_URL", "ARKER_BURST_BASE_URL", "ARKER_CONTROL_BASE_URL")
    env = {**dict.fromkeys(names, arker_emulator.url), "ARKER_API_KEY": arker_emulator.api_key}
    return Program(bare.runner, {**bare.env, **env}, bare.cwd)


@pytest.fixture
def web(arker_program: Program) -> str:
    """Return the id of a VM of the name ``web``."""
    return arker_program.good("fork", "ubuntu", "--name", "web").strip()
