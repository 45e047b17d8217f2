"""Where VMs may go, without a connection: spellings of hosts, rules, policies, and what is always out of reach."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from arker._basics.hosts import MalformedHostError, means_this_machine, out_of_reach, parse_host
from arker.emulator.server.own_addresses import is_own
from arker.emulator.server.proxy.egress import Policy, Rule, Target
from arker.emulator.server.proxy.egress_upstream import Upstream, Upstreams


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.Com.", "example.com"),
        ("a_b-c.1e100.net", "a_b-c.1e100.net"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1.", "192.0.2.1"),
        ("::1", "::1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("[::ffff:192.0.2.1]", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str) -> None:
    assert str(parse_host(text)) == host


@pytest.mark.parametrize(
    "text",
    [
        *("127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.01", "1.2.3.4.5", "256.1.1.1", "a.0x"),
        *("1.2.3", "127.1.", "0x7F000001.", "host.1", "[127.0.0.1]", "[::1", "::1]", "[fe80::1%eth0]", "fe80::1%1"),
        *("", ".", "a..b", ".a", "a b", " a", "a/b", "a%41", "user@a", "bücher.example", "\u212aelvin.example", "a\0"),
        *("a" * 64 + ".b", "a." * 128 + "b", "[]", "[::g]", "١٢٧.0.0.1"),
    ],
)
def test_what_could_be_read_in_two_ways_is_no_host(text: str) -> None:
    with pytest.raises(MalformedHostError):
        parse_host(text)


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ("example.com", ["example.com:80", "EXAMPLE.COM.:443"], ["www.example.com:80", "notexample.com:80"]),
        ("example.com:443", ["example.com:443"], ["example.com:80"]),
        ("*.Example.com", ["a.example.com:1", "a.b.example.com:1"], ["example.com:1", "aexample.com:1"]),
        ("*.example.com:8443", ["a.example.com:8443"], ["a.example.com:443"]),
        ("192.0.2.1", ["192.0.2.1:1", "[::ffff:192.0.2.1]:2"], ["192.0.2.10:1"]),
        ("::1:2", ["[::1:2]:80"], ["[::1]:2"]),
        ("[2001:db8::1]:80", ["[2001:db8:0:0::1]:80"], ["[2001:db8::1]:81"]),
    ],
)
def test_rules(rule: str, yes: list[str], no: list[str]) -> None:
    parsed = Rule.parse(rule)
    for text in yes:
        assert parsed.matches(Target.parse(text, default_port=None)), text
    for text in no:
        assert not parsed.matches(Target.parse(text, default_port=None)), text


BAD_RULES = [
    *("http://x", "example.com/", "*", "*.", "*.*.a", "a.*", "*.192.0.2.1", "*a.b", "a:0", "a:", "a:65536", "a:b"),
    *("", " ", " a", "a ", "a b", "0x7f.1", "127.1:80", "10.0.0.0/8", "user@a", "[::1", "::1]:80", "a\nb"),
]


@pytest.mark.parametrize("text", BAD_RULES)
def test_bad_rules(text: str) -> None:
    with pytest.raises(MalformedHostError):
        Rule.parse(text)


@pytest.mark.parametrize(
    ("network", "yes", "no"),
    [
        ({"type": "open"}, ["a.b:1", "10.0.0.1:80"], []),
        ({"type": "blocked"}, [], ["a.b:1", "10.0.0.1:80"]),
        ({"type": "allow", "allow": ["a.b", "*.c.d:443"]}, ["a.b:1", "x.c.d:443"], ["c.d:443", "x.c.d:80", "b:1"]),
        ({"type": "allow", "allow": []}, [], ["a.b:1"]),
        ({"type": "block", "block": ["a.b", "192.0.2.1"]}, ["c.d:1", "x.a.b:1"], ["A.B.:1", "[::ffff:c000:201]:1"]),
        ({"type": "block", "block": []}, ["a.b:1"], []),
        ({"type": "something new"}, [], ["a.b:1"]),
    ],
)
def test_policies(network: Any, yes: list[str], no: list[str]) -> None:
    policy = Policy.of(network)
    assert [text for text in yes if not policy.allows(Target.parse(text, default_port=None))] == []
    assert [text for text in no if policy.allows(Target.parse(text, default_port=None))] == []


def test_what_a_policy_says_of_addresses() -> None:
    policy = Policy.of({"type": "block", "block": ["192.0.2.1", "a.b", "*.c.d", "e.f:443"]})
    assert not policy.allows_address(ip_address("192.0.2.1"), 80)
    assert policy.allows_address(ip_address("192.0.2.2"), 80)
    assert policy.blocked_names(443) == ["a.b", "e.f"]
    assert policy.blocked_names(80) == ["a.b"]
    allowing = Policy.of({"type": "allow", "allow": ["a.b"]})
    assert allowing.allows_address(ip_address("192.0.2.1"), 80)  # a.b may be at any address
    assert allowing.blocked_names(80) == []


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "255.255.255.255"),
        *("240.0.0.1", "100.100.100.200", "168.63.129.16", "::1", "::", "fe80::1", "ff02::1", "fd00:ec2::254"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::169.254.169.254", "2002:7f00:1::1"),
        *("64:ff9b:1::7f00:1", "64:ff9b:1:7f00:0:100::", "::ffff:0:127.0.0.1", "2001:db8::200:5efe:127.0.0.1"),
        "2001:0:1:2:3:4:80ff:fffe",
    ],
)
def test_out_of_reach(text: str) -> None:
    assert out_of_reach(ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "1.1.1.1", "fd00::1", "2606:4700::1", "64:ff9b::101:101"],
)
def test_within_reach(text: str) -> None:
    assert not out_of_reach(ip_address(text))


@pytest.mark.parametrize(
    "text",
    # 127.0.0.2 stands for a second address of an interface: the way to it begins at another one.
    *[["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.2", "::127.0.0.2", "64:ff9b::127.0.0.2", "2002:7f00:2::"]],
)
def test_own_is_what_can_be_bound(text: str) -> None:
    assert is_own(ip_address(text))


@pytest.mark.parametrize("text", ["192.0.2.254", "2001:db8::7", "64:ff9b::192.0.2.254", "2002:c000:2fe::"])
def test_others_are_not_own(text: str) -> None:
    assert not is_own(ip_address(text))


def test_where_any_address_can_be_bound_own_are_those_of_interfaces(tmp_path: Path) -> None:
    for version in (4, 6):
        setting = tmp_path / f"sys/net/ipv{version}/ip_nonlocal_bind"
        setting.parent.mkdir(parents=True)
        setting.write_text("1\n")
    (tmp_path / "net").mkdir()
    (tmp_path / "net/fib_trie").write_text(
        "Local:\n  +-- 127.0.0.0/8 2 0 2\n     |-- 127.0.0.1\n        /32 host LOCAL\n"
    )
    (tmp_path / "net/if_inet6").write_text("00000000000000000000000000000001 01 80 10 80       lo\n")
    assert is_own(ip_address("127.0.0.1"), tmp_path)
    assert is_own(ip_address("::1"), tmp_path)
    assert not is_own(ip_address("127.0.0.2"), tmp_path)
    (tmp_path / "net/fib_trie").unlink()
    assert is_own(ip_address("127.0.0.2"), tmp_path), "what cannot be found out is out of reach"


def test_names_that_mean_this_machine_everywhere() -> None:
    for name in ("localhost", "a.localhost", "localhost.localdomain", "metadata.google.internal"):
        assert means_this_machine(name)
    for name in ("localhost.example.com", "notlocalhost", "example.com"):
        assert not means_this_machine(name)


def test_upstream_proxies_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    example = Target.parse("example.com:443", default_port=None)
    assert not Upstreams.from_environment().applies("https", example)
    monkeypatch.setenv("HTTPS_PROXY", "http://us%65r:p%40ss@proxy.example:3128/")
    monkeypatch.setenv("NO_PROXY", "internal.example, .Other.example,192.0.2.1,ported.example:8080")
    upstreams = Upstreams.from_environment()
    upstream = upstreams.get("https")
    assert upstream == Upstream(Target("proxy.example", 3128), False, "Basic dXNlcjpwQHNz")
    assert "dXNlcjpwQHNz" not in repr(upstreams)
    assert not upstreams.applies("http", example)
    for text, applies in {
        "example.com:443": True,
        "internal.example:443": False,
        "a.internal.example:443": False,
        "notinternal.example:443": True,
        "a.other.example:443": False,
        "192.0.2.1:443": False,
        "192.0.2.10:443": True,
        "ported.example:8080": False,
        "ported.example:443": True,
    }.items():
        assert upstreams.applies("https", Target.parse(text, default_port=None)) is applies, text
    monkeypatch.setenv("NO_PROXY", "*")
    assert not Upstreams.from_environment().applies("https", example)


def test_an_upstream_proxy_that_cannot_be_used_is_said_to_be_so_without_its_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    example = Target.parse("example.com:443", default_port=None)
    for url in (
        "socks5://user:secret@a:1",
        "http://user:secret@a:port",
        "http://user:secret@",
        "http://user:secret@[x",
    ):
        monkeypatch.setenv("https_proxy", url)
        upstreams = Upstreams.from_environment()
        assert upstreams.applies("https", example)
        assert upstreams.get("https") is None
    assert "cannot be used" in caplog.text
    assert "secret" not in caplog.text
