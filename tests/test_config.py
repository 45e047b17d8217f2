"""Where each setting comes from, and what is refused (contract, section 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest

from arker import (
    AsyncArker,
    ConfigurationError,
    HttpTimeouts,
    InvalidArgumentError,
    RetryPolicy,
    Vm,
)
from arker._config.urls import is_loopback
from arker.config import DEFAULT_CONTROL_BASE_URL, Settings, load_settings, proxy_for
from arker_sync import Arker
from tests.support.secrets import API_KEY, MARK, OTHER_KEY

KEY = {"ARKER_API_KEY": API_KEY}
WEST = {"ARKER_REGION": "us-west-2"}


def settings(environ: Mapping[str, str] = KEY, **arguments: Any) -> Settings:
    return load_settings(environ=environ, **arguments)


# --- the API key -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "environ", "expected"),
    [
        (API_KEY, {}, API_KEY),
        (API_KEY, {"ARKER_API_KEY": OTHER_KEY, "AUTH_KEY": OTHER_KEY}, API_KEY),
        (None, {"ARKER_API_KEY": API_KEY, "AUTH_KEY": OTHER_KEY}, API_KEY),
        (None, {"AUTH_KEY": API_KEY}, API_KEY),
        (None, {"ARKER_API_KEY": "  ", "AUTH_KEY": API_KEY}, API_KEY),
        (None, {"ARKER_API_KEY": f" {API_KEY}\n"}, API_KEY),
        (f" {API_KEY} ", {}, API_KEY),
    ],
)
def test_api_key(argument: str | None, environ: dict[str, str], expected: str) -> None:
    assert settings({**environ, **WEST}, api_key=argument).api_key == expected


@pytest.mark.parametrize("environ", [{}, {"ARKER_API_KEY": ""}, {"ARKER_API_KEY": " \t", "AUTH_KEY": "\n"}])
def test_an_api_key_is_required(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="an API key is required") as caught:
        settings({**environ, **WEST})
    assert caught.value.code == "configuration_error"


@pytest.mark.parametrize("key", ["", "   "])
def test_an_empty_api_key_does_not_fall_back_to_the_environment(key: str) -> None:
    with pytest.raises(ConfigurationError, match="an API key is required"):
        settings({**KEY, **WEST}, api_key=key)


@pytest.mark.parametrize("key", [f'"{API_KEY}"', f"'{API_KEY}'", f'{API_KEY}"', f' "{API_KEY}" ', '""'])
def test_a_key_in_the_quotation_marks_of_a_file(key: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"ARKER_API_KEY=.* without the quotation marks") as caught:
        settings({"ARKER_API_KEY": key, **WEST})
    assert MARK not in f"{caught.value}{caught.value.args}{caught.value.value}"


@pytest.mark.parametrize(
    "key", [f"{API_KEY}\u00e9", f"{API_KEY} x", f"{API_KEY}\r\nX-Evil: 1", f"{API_KEY}\0", 7, b"k"]
)
def test_a_key_that_no_header_can_carry(key: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        settings(WEST, api_key=key)
    assert caught.value.argument == "api_key"
    assert MARK not in f"{caught.value}{caught.value.args}{caught.value.value}"


# --- base URLs, regions, providers -----------------------------------------------------------------------------------

AWS_WEST = "https://aws-us-west-2.arker.ai/api"
BURST_WEST = "https://aws-burst-us-west-2.arker.ai/api"
GCP_WEST = "https://gcp-us-west-2.arker.ai/api"


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        # built from provider and region
        ({"region": "us-west-2"}, {}, (AWS_WEST, None, "us-west-2", "aws")),
        ({}, {"ARKER_REGION": "us-west-2"}, (AWS_WEST, None, "us-west-2", "aws")),
        ({"region": "us-west-2"}, {"ARKER_REGION": "eu-north-1"}, (AWS_WEST, None, "us-west-2", "aws")),
        ({"region": " US-West-2 "}, {}, (AWS_WEST, None, "us-west-2", "aws")),
        ({}, {"ARKER_REGION": " US-WEST-2\n"}, (AWS_WEST, None, "us-west-2", "aws")),
        # providers
        ({"region": "us-west-2", "provider": "aws-burst"}, {}, (BURST_WEST, BURST_WEST, "us-west-2", "aws-burst")),
        ({"region": "us-west-2", "provider": "burst"}, {}, (BURST_WEST, BURST_WEST, "us-west-2", "aws-burst")),
        ({"region": "us-west-2", "provider": " Burst "}, {}, (BURST_WEST, BURST_WEST, "us-west-2", "aws-burst")),
        ({"region": "us-west-2", "provider": "AWS"}, {}, (AWS_WEST, None, "us-west-2", "aws")),
        ({}, {**WEST, "ARKER_PROVIDER": "AWS-Burst"}, (BURST_WEST, BURST_WEST, "us-west-2", "aws-burst")),
        ({}, {**WEST, "ARKER_PROVIDER": " burst "}, (BURST_WEST, BURST_WEST, "us-west-2", "aws-burst")),
        ({}, {**WEST, "ARKER_PROVIDER": "  "}, (AWS_WEST, None, "us-west-2", "aws")),
        ({"provider": "aws"}, {**WEST, "ARKER_PROVIDER": "burst"}, (AWS_WEST, None, "us-west-2", "aws")),
        # any label of a host's name
        ({"region": "us-west-2", "provider": "gcp"}, {}, (GCP_WEST, None, "us-west-2", "gcp")),
        ({}, {**WEST, "ARKER_PROVIDER": " GCP "}, (GCP_WEST, None, "us-west-2", "gcp")),
        # legacy combined regions: a provider found in the region wins
        ({"region": "aws-us-west-2"}, {}, (AWS_WEST, None, "us-west-2", "aws")),
        ({"region": "aws-burst-us-west-2"}, {}, (BURST_WEST, BURST_WEST, "us-west-2", "aws-burst")),
        ({"region": " AWS-Burst-US-West-2 "}, {}, (BURST_WEST, BURST_WEST, "us-west-2", "aws-burst")),
        ({"region": "aws-us-west-2", "provider": "burst"}, {}, (AWS_WEST, None, "us-west-2", "aws")),
        (
            {"provider": "aws"},
            {"ARKER_REGION": "aws-burst-us-west-2"},
            (BURST_WEST, BURST_WEST, "us-west-2", "aws-burst"),
        ),
        # a base URL
        ({"base_url": "https://h/api"}, {}, ("https://h/api", None, None, "aws")),
        ({}, {"ARKER_BASE_URL": "https://h/api"}, ("https://h/api", None, None, "aws")),
        ({"base_url": "https://h"}, {"ARKER_BASE_URL": "https://other"}, ("https://h", None, None, "aws")),
        ({"base_url": "https://h"}, {"ARKER_BASE_URL": " "}, ("https://h", None, None, "aws")),
        ({}, {**WEST, "ARKER_BASE_URL": "  "}, (AWS_WEST, None, "us-west-2", "aws")),
        # the region of the environment counts beside a base URL of the environment, not beside an explicit one
        ({"base_url": "https://h"}, WEST, ("https://h", None, None, "aws")),
        ({}, {**WEST, "ARKER_BASE_URL": "https://h"}, ("https://h", None, "us-west-2", "aws")),
        ({"base_url": "https://h", "region": "us-west-2"}, {}, ("https://h", None, "us-west-2", "aws")),
        # the burst base URL
        ({"base_url": "https://h", "burst_base_url": "https://b/"}, {}, ("https://h", "https://b", None, "aws")),
        ({"base_url": "https://h"}, {"ARKER_BURST_BASE_URL": "https://b"}, ("https://h", "https://b", None, "aws")),
        ({"base_url": "https://h"}, {"ARKER_BURST_BASE_URL": "\t"}, ("https://h", None, None, "aws")),
        (
            {"region": "us-west-2", "burst_base_url": "https://b"},
            {"ARKER_BURST_BASE_URL": "https://c"},
            (AWS_WEST, "https://b", "us-west-2", "aws"),
        ),
        # trailing slashes and blanks around
        ({"base_url": " https://h/api/// "}, {}, ("https://h/api", None, None, "aws")),
        ({"base_url": "https://h:8443/"}, {}, ("https://h:8443", None, None, "aws")),
        ({"base_url": "HTTPS://H.Example:8443/Api"}, {}, ("https://h.example:8443/Api", None, None, "aws")),
        ({"base_url": "http://[::1]:80/api"}, {}, ("http://[::1]:80/api", None, None, "aws")),
        ({}, {"ARKER_BASE_URL": "\thttps://h//"}, ("https://h", None, None, "aws")),
    ],
)
def test_where_a_client_goes(
    arguments: dict[str, str], environ: dict[str, str], expected: tuple[str, str | None, str | None, str]
) -> None:
    made = settings({**KEY, **environ}, **arguments)
    assert (made.base_url, made.burst_base_url, made.region, made.provider) == expected
    assert made.control_base_url == DEFAULT_CONTROL_BASE_URL == "https://arker.ai/api"


@pytest.mark.parametrize(
    ("argument", "environ", "expected"),
    [
        ("https://c/", {}, "https://c"),
        (None, {"ARKER_CONTROL_BASE_URL": "https://e//"}, "https://e"),
        ("https://c", {"ARKER_CONTROL_BASE_URL": "https://e"}, "https://c"),
        (None, {"ARKER_CONTROL_BASE_URL": " "}, "https://arker.ai/api"),
    ],
)
def test_control_base_url(argument: str | None, environ: dict[str, str], expected: str) -> None:
    assert settings({**KEY, **WEST, **environ}, control_base_url=argument).control_base_url == expected


@pytest.mark.parametrize("environ", [{}, {"ARKER_REGION": " "}, {"ARKER_BASE_URL": ""}])
def test_without_a_region_and_a_base_url_there_is_no_compute_base_url(environ: dict[str, str]) -> None:
    made = settings({**KEY, **environ})
    assert made.base_url is None
    for url in (made.compute_base_url, lambda: made.vm_base_url("v")):
        with pytest.raises(ConfigurationError, match="a region or a base URL is required"):
            url()


@pytest.mark.parametrize("environ", [{"ARKER_GENERATION": "0.5"}, {"ARKER_PROVIDER": "burst"}])
def test_a_region_is_required_beside_a_provider_and_in_generation_0_5(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="a region or a base URL is required"):
        settings({**KEY, **environ})


@pytest.mark.parametrize(
    ("argument", "environ", "expected"),
    [
        (None, {}, "auto"),
        (None, {"ARKER_GENERATION": " "}, "auto"),
        (None, {"ARKER_GENERATION": " 1 "}, "1"),
        ("0.5", {"ARKER_GENERATION": "1"}, "0.5"),
        ("AUTO", {"ARKER_GENERATION": "1"}, "auto"),
    ],
)
def test_generation(argument: str | None, environ: dict[str, str], expected: str) -> None:
    assert settings({**KEY, **WEST, **environ}, generation=argument).generation == expected


@pytest.mark.parametrize("value", ["2", "", "1.0", 1, 0.5, True])
def test_no_other_generation(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"expected 'auto', '1' or '0\.5'") as caught:
        settings({**KEY, **WEST}, generation=value)
    assert (caught.value.argument, caught.value.value) == ("generation", value)
    if isinstance(value, str) and value:
        with pytest.raises(InvalidArgumentError, match="ARKER_GENERATION"):
            settings({**KEY, **WEST, "ARKER_GENERATION": value})


@pytest.mark.parametrize(
    ("options", "provider", "region", "expected"),
    [
        ({"region": "us-west-2"}, "gcp", "eu-1", "https://gcp-eu-1.arker.ai/api"),
        ({}, "gcp", "eu-1", "https://gcp-eu-1.arker.ai/api"),
        ({"region": "us-west-2"}, "aws", "aws-us-east-1", "https://aws-us-east-1.arker.ai/api"),
        ({"region": "us-west-2"}, None, "eu-1", "https://aws-us-west-2.arker.ai/api"),
        ({"region": "us-west-2"}, "gcp", None, "https://aws-us-west-2.arker.ai/api"),
        ({"region": "us-west-2"}, "evil.example/", "x", "https://aws-us-west-2.arker.ai/api"),
        ({"region": "us-west-2"}, "x", "evil.example/", "https://aws-us-west-2.arker.ai/api"),
        ({"base_url": "https://h"}, "gcp", "eu-1", "https://h"),
        ({"base_url": "https://h", "region": "us-west-2"}, "gcp", "eu-1", "https://h"),
    ],
)
def test_where_a_listed_vm_is(options: dict[str, str], provider: str | None, region: str | None, expected: str) -> None:
    vm = Vm(vm_id="v", provider=provider, region=region)
    assert settings(KEY, **options).listed_base_url(vm) == expected


@pytest.mark.parametrize("name", ["base_url", "burst_base_url", "control_base_url"])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "  ",
        "/",
        "h/api",
        "ftp://h",
        "http://",
        "http:///api",
        "http://h/api?x=1",
        "http://h/#top",
        "http://h/a b",
        "http://h/\nx",
        "http://user:pw@h/",
        "http://h:99999",
        "http://h:port",
        "http://[::1",
        "http://h\\x",
        "http://:80",
        "http://hé.example",
        7,
        b"http://h",
    ],
)
def test_a_base_url_that_is_none(name: str, url: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        settings({**KEY, **WEST}, **{name: url})
    assert caught.value.argument == name


@pytest.mark.parametrize("name", ["ARKER_BASE_URL", "ARKER_BURST_BASE_URL", "ARKER_CONTROL_BASE_URL"])
def test_a_base_url_of_the_environment_that_is_none(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        settings({**KEY, **WEST, name: "nonsense"})
    assert caught.value.argument == name


@pytest.mark.parametrize(
    "url",
    [
        *(f"http://me:{MARK}@h/", f"https://me:{MARK}/x@h", f"https://me:{MARK}?@h", f"https://me:x@{MARK}@h"),
        *(f"https://h/api?token={MARK}", f"https://h/api#{MARK}", f"https://h/api?a=b\n{MARK}", f"me:{MARK}@h"),
        *(f"ftp://me:{MARK}@h", f"https://h\u00e9/?{MARK}", f"//me:{MARK}@h"),
    ],
)
@pytest.mark.parametrize("argument", ["base_url", "control_base_url", "insecure_hosts"])
def test_the_secrets_of_a_refused_url_are_not_shown(url: str, argument: str) -> None:
    arguments: dict[str, Any] = {"base_url": "https://h", argument: [url] if argument == "insecure_hosts" else url}
    with pytest.raises(InvalidArgumentError) as caught:
        settings(**arguments)
    assert MARK not in f"{caught.value}{caught.value.args}{caught.value.value}"


@pytest.mark.parametrize(
    ("arguments", "environ", "argument"),
    [
        ({"provider": "a.b"}, {}, "provider"),
        ({"provider": ""}, {}, "provider"),
        ({"provider": 7}, {}, "provider"),
        ({}, {"ARKER_PROVIDER": "-gcp"}, "ARKER_PROVIDER"),
    ],
)
def test_a_provider_is_a_label(arguments: dict[str, Any], environ: dict[str, str], argument: str) -> None:
    with pytest.raises(InvalidArgumentError, match="such as 'aws'") as caught:
        settings({**KEY, **WEST, **environ}, **arguments)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    "region", ["", "  ", "us west", "us/west", "us.west", "evil.example/", "-x", "x-", "a" * 64, 7]
)
def test_a_region_that_is_none(region: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        settings(region=region)
    assert (caught.value.argument, caught.value.value) == ("region", region)


def test_a_region_of_the_environment_that_is_none() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        settings({**KEY, "ARKER_REGION": "evil.example/"})
    assert caught.value.argument == "ARKER_REGION"


# --- the rest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "2", None])
def test_max_connections(value: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        settings({**KEY, **WEST}, max_connections=value)
    assert caught.value.argument == "max_connections"


@pytest.mark.parametrize("name", ["connect", "idle", "upload"])
@pytest.mark.parametrize("value", [0, -1, True, "2", float("nan"), float("inf")])
def test_timeouts(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        HttpTimeouts(**{name: value})
    assert caught.value.argument == name


def test_timeouts_may_be_unbounded() -> None:
    assert HttpTimeouts(connect=None, idle=None, upload=None).idle is None
    assert (HttpTimeouts().connect, HttpTimeouts().idle, HttpTimeouts().upload) == (10.0, 60.0, 600.0)


@pytest.mark.parametrize("timeout", [5, "5", {"connect": 5}, RetryPolicy()])
def test_a_timeout_of_another_type(timeout: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        settings({**KEY, **WEST}, timeout=timeout)
    assert caught.value.argument == "timeout"


def test_a_client_shows_its_settings_but_never_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARKER_API_KEY", API_KEY)
    monkeypatch.setenv("ARKER_REGION", "aws-burst-us-west-2")
    client = AsyncArker()
    assert (client.base_url, client.burst_base_url, client.control_base_url, client.region, client.provider) == (
        BURST_WEST,
        BURST_WEST,
        "https://arker.ai/api",
        "us-west-2",
        "aws-burst",
    )
    shown = f"{client!r}{client}{settings({**KEY, **WEST})!r}"
    assert BURST_WEST in shown
    assert MARK not in shown


# --- proxies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "host", "environ", "expected"),
    [
        ("https", "arker.ai", {}, None),
        ("https", "arker.ai", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https", "arker.ai", {"HTTPS_PROXY": "p:1"}, "http://p:1"),
        ("https", "arker.ai", {"HTTP_PROXY": "http://p:1"}, None),
        ("http", "h", {"http_proxy": "http://p:1"}, "http://p:1"),
        ("https", "arker.ai", {"https_proxy": "http://p:1", "no_proxy": "arker.ai"}, None),
        ("https", "aws-us.arker.ai", {"https_proxy": "http://p:1", "NO_PROXY": "x,.arker.ai"}, None),
        ("https", "arker.ai", {"https_proxy": "http://p:1", "no_proxy": "*"}, None),
        ("https", "arker.ai", {"https_proxy": "http://p:1", "no_proxy": "other.ai"}, "http://p:1"),
        ("http", "localhost", {"http_proxy": "http://p:1"}, None),
        ("http", "LocalHost.", {"http_proxy": "http://p:1"}, None),
        ("http", "127.0.0.1", {"http_proxy": "http://p:1"}, None),
        ("http", "127.9.9.9", {"http_proxy": "http://p:1"}, None),
        ("http", "::1", {"http_proxy": "http://p:1"}, None),
        ("http", "10.0.0.1", {"http_proxy": "http://p:1"}, "http://p:1"),
    ],
)
def test_proxy_for(
    monkeypatch: pytest.MonkeyPatch, scheme: str, host: str, environ: dict[str, str], expected: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(scheme, host) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("[::1]", True),
        ("localhost.evil.example", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


BAD_KEYS: Final = [
    f"{MARK}\nx",
    f"{MARK}\r\nX-Evil: 1",
    f"{MARK}\rx",
    f"{MARK}\0x",
    f"{MARK} x",
    f"{MARK}é",
    f"{MARK}\x7f",
]


@pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
def test_a_key_that_is_none_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        AsyncArker(key, base_url="https://h")
    assert MARK not in f"{caught.value}{caught.value!r}{vars(caught.value)}"
    if "\0" not in key:  # which no environment can hold
        for name in ("ARKER_API_KEY", "AUTH_KEY"):
            monkeypatch.setenv(name, key)
            with pytest.raises(InvalidArgumentError) as caught:
                AsyncArker(base_url="https://h")
            assert MARK not in f"{caught.value}{caught.value!r}{vars(caught.value)}"
            monkeypatch.delenv(name)


@pytest.mark.parametrize("key", ["", " ", "\n", "\t\r\n"], ids=ascii)
def test_an_empty_key_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="an API key is required"):
        AsyncArker(key, base_url="https://h")
    monkeypatch.setenv("ARKER_API_KEY", key)
    with pytest.raises(ConfigurationError, match="an API key is required"):
        AsyncArker(base_url="https://h")


@pytest.mark.parametrize("kind", [AsyncArker, Arker])
def test_a_client_whose_making_has_failed_can_be_shown(kind: Any) -> None:
    half_made: Any = object.__new__(kind)
    with pytest.raises(InvalidArgumentError):
        half_made.__init__("k", base_url="no URL")
    assert repr(half_made) == f"<{kind.__name__}, not made>"
