"""Which addresses downloads reach, in every spelling."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from storage.addresses import is_reachable, resolve, split_url
from storage.errors import DownloadFailed, SourceLacking, SourceRefused

PUBLIC = ["8.8.8.8", "1.1.1.1", "151.101.2.132", "2606:4700::1111", "2a04:4e42::644"]
FORBIDDEN = [
    "0.0.0.0",  # noqa: S104 - to be refused, not to bind to
    "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8",
    "64:ff9b::a00:1", "64:ff9b::808:808",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "5f00::1",
]  # fmt: skip
SPELLINGS = [
    "127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "0",
    "localhost", "::1", "::ffff:127.0.0.1", "0:0:0:0:0:ffff:7f00:1", "169.254.169.254", "2852039166",
]  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_reached(text: str) -> None:
    assert is_reachable(ipaddress.ip_address(text), ())


@pytest.mark.parametrize("text", FORBIDDEN)
def test_other_addresses_are_not(text: str) -> None:
    assert not is_reachable(ipaddress.ip_address(text), ())


def test_an_opened_range_is_reached_and_nothing_else() -> None:
    allow = (ipaddress.ip_network("10.1.0.0/16"),)
    assert is_reachable(ipaddress.ip_address("10.1.2.3"), allow)
    assert not is_reachable(ipaddress.ip_address("10.2.0.1"), allow)
    assert not is_reachable(ipaddress.ip_address("::ffff:10.1.2.3"), allow)


@pytest.mark.parametrize("host", SPELLINGS)
def test_every_spelling_is_resolved_before_it_is_judged(host: str) -> None:
    with pytest.raises(SourceRefused, match="must not be reached"):
        resolve(host, 80, ())


def test_a_name_without_an_address_is_a_failure() -> None:
    with pytest.raises(SourceLacking, match="could not be resolved"):
        resolve("x" * 300, 80, ())


def test_a_name_that_nobody_could_look_up_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", down)
    with pytest.raises(DownloadFailed, match="could not be resolved") as caught:
        resolve("images.test", 80, ())
    assert caught.value.retryable


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/x", "gopher://example.com/", "//example.com/x", "example.com/x", "http:///x", "http://",
        "http://user@example.com/", "http://user:pw@example.com/", "http://example.com:0/", "http://example.com:99999/",
        "http://example.com/a b", "http://example.com\\@127.0.0.1/", "http://exämple.com/", "http://a/\r\nHost: b",
        "http://[::1/", "json:{}", "http://example.com/" + "x" * 3000,
    ],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(SourceRefused):
        split_url(url)
