"""Signatures: the vectors of real servers and clients, and what is no signature."""

import datetime as dt
import json
from pathlib import Path

import pytest

from manager.api.signature import canonical, expiry, is_fresh, matches, sign

VECTORS = json.loads(Path(__file__).with_name("signature_vectors.json").read_text())
SECRET = VECTORS["secretKey"]
NOW = dt.datetime(2026, 1, 2, 3, 0, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_vectors(vector):
    assert canonical(vector["params"]) == vector["string_to_sign"]
    assert sign(SECRET, vector["string_to_sign"]) == vector["server_signature"]
    assert matches(SECRET, vector["params"], vector["server_signature"])
    for client, signature in vector["clients_that_differ"].items():
        assert matches(SECRET, vector["params"], signature), client


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_no_altered_request_is_taken(vector):
    signature = vector["server_signature"]
    for name, value in vector["params"].items():
        altered = {**vector["params"], name: value + "x"}
        assert not matches(SECRET, altered, signature)
    assert not matches(SECRET, {**vector["params"], "more": "1"}, signature)
    assert not matches(SECRET + "x", vector["params"], signature)
    for wrong in ("", signature[:-2], signature.lower(), "ü"):
        assert not matches(SECRET, vector["params"], wrong)


@pytest.mark.parametrize(
    "text",
    ["2026-01-02T03:04:05+0000", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05.250+0000",
     "2026-01-02T05:04:05+0200"],
)  # fmt: skip
def test_forms_of_expiry(text):
    assert expiry(text).replace(microsecond=0) == dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.mark.parametrize("text", ["", "soon", "2026-01-02", "2026-01-02T03:04:05"])
def test_what_is_no_expiry(text):
    assert expiry(text) is None


@pytest.mark.parametrize(
    ("version", "expires", "fresh"),
    [("3", "2026-01-02T03:04:05Z", True), ("3", "2026-01-02T02:59:59Z", False), ("3", "", False), ("3", "x", False),
     ("2", "2020-01-01T00:00:00Z", True), ("", "", True)],
)  # fmt: skip
def test_only_version_three_expires(version, expires, fresh):
    assert is_fresh({"signatureversion": version, "expires": expires}, NOW) is fresh


def test_version_three_needs_an_expiry():
    assert not is_fresh({"signatureversion": "3"}, NOW)
