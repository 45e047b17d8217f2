"""What can be set is checked, and secrets are not shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arker.emulator import Emulator, EmulatorOptions
from arker.errors import InvalidArgumentError


def test_the_defaults() -> None:
    options = EmulatorOptions()
    assert (options.isolation, options.port, options.api_key, options.region) == ("auto", 0, None, "us-west-2")
    assert options.host_ports == ()
    assert EmulatorOptions(host_ports=[8000, 80]).host_ports == (8000, 80)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("isolation", "docker"),
        ("generation", "2"),
        ("generation", 1),
        ("generation", None),
        ("foreground_window", 0),
        ("foreground_window", 301),
        ("foreground_window", True),
        ("port", -1),
        ("port", 65536),
        ("port", True),
        ("port", "80"),
        ("region", ""),
        ("region", "US"),
        ("presigned", 1),
        ("presigned_ttl", 0),
        ("presigned_ttl", float("nan")),
        ("output_limit", 0),
        ("output_limit", 1.5),
        ("late_output", -1),
        ("late_output", True),
        ("late_output", float("nan")),
        ("start_timeout", 0),
        ("process_limit", 7),
        ("process_limit", 10**7),
        ("process_limit", "512"),
        ("open_files_limit", 255),
        ("spares", -1),
        ("spares", 101),
        ("spares", True),
        ("open_files_limit", True),
        ("state_parent", "/nowhere/at/all"),
        ("state_parent", 5),
        ("state_parent", b"/tmp"),
        ("state_parent", ""),
        ("host_ports", [0]),
        ("host_ports", [80, 65536]),
        ("host_ports", ["80"]),
        ("host_ports", "80"),
        ("host_ports", [True]),
        ("host_ports", 80),
        ("organisations", {"ArkerHQ": "long-enough-key"}),
        ("organisations", {"org_local": "long-enough-key"}),
        ("organisations", {1: "long-enough-key"}),
        ("organisations", ["org_x"]),
        ("organisations", None),
    ],
)
def test_a_bad_option_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        EmulatorOptions(**{name: value})
    assert caught.value.argument == name


@pytest.mark.parametrize("key", ["", "short", "has a blank in it", "nön-ascii-key", 12345678])
def test_a_bad_key_is_refused_without_showing_it(key: Any) -> None:
    alternatives: tuple[dict[str, Any], ...] = ({"api_key": key}, {"organisations": {"org_x": key}})
    for fields in alternatives:
        with pytest.raises(InvalidArgumentError) as caught:
            EmulatorOptions(**fields)
        assert not key or str(key) not in str(caught.value)


class PathOfAnotherLibrary(os.PathLike[str]):
    """What `py.path.local` is, for instance."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize("kind", [str, PathOfAnotherLibrary])
def test_directories_may_be_strings_and_paths_of_other_libraries(kind: Callable[[Path], Any], tmp_path: Path) -> None:
    assert EmulatorOptions(state_parent=kind(tmp_path)).state_parent == tmp_path
    assert EmulatorOptions(state=kind(tmp_path)).state == tmp_path


@pytest.mark.parametrize("given", [{"api_key": "a-secret-key"}, 8000, "http://127.0.0.1:8000"])
def test_what_are_no_options_is_refused_without_showing_it(given: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="expected EmulatorOptions; single settings are keywords") as caught:
        Emulator(given)
    assert "secret" not in str(caught.value)


def test_secrets_are_not_in_the_repr() -> None:
    options = EmulatorOptions(api_key="very-secret-key", organisations={"org_x": "another-secret"})
    assert "secret" not in repr(options)


def test_options_may_be_given_as_keywords() -> None:
    assert Emulator(region="eu-west-1").options == EmulatorOptions(region="eu-west-1")
    given = EmulatorOptions(region="eu-west-1", output_limit=5)
    assert Emulator(given, output_limit=7).options == EmulatorOptions(region="eu-west-1", output_limit=7)
    assert Emulator(given).options == given
    assert Emulator(None, isolation="none").options.isolation == "none"


def test_an_unknown_keyword_is_refused_by_name_without_its_value() -> None:
    for options in (None, EmulatorOptions()):
        with pytest.raises(InvalidArgumentError) as caught:
            Emulator(options, apikey="misspelt-secret")
        assert caught.value.argument == "apikey"
        assert "misspelt-secret" not in str(caught.value)
    with pytest.raises(InvalidArgumentError) as caught:
        Emulator(port=-1)
    assert caught.value.argument == "port"
