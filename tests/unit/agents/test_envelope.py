"""Envelopes: only what the right key signed, unaltered and in time, is read."""

from __future__ import annotations

import base64
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents import envelope

KEY = Ed25519PrivateKey.generate()


def test_what_was_signed_is_read():
    payload = envelope.verify(KEY.public_key(), envelope.sign(KEY, {"action": "vm.start", "subject": "vm:1"}, 60))
    assert (payload["action"], payload["subject"]) == ("vm.start", "vm:1")


def test_every_altered_byte_of_the_payload_is_refused():
    signed = envelope.sign(KEY, {"action": "vm.start"}, 60)
    for place in range(len(signed["payload"])):
        letter = signed["payload"][place]
        altered = signed["payload"][:place] + ("x" if letter != "x" else "y") + signed["payload"][place + 1 :]
        with pytest.raises(envelope.BadEnvelope):
            envelope.verify(KEY.public_key(), {**signed, "payload": altered})


def test_another_key_is_refused():
    with pytest.raises(envelope.BadEnvelope):
        envelope.verify(Ed25519PrivateKey.generate().public_key(), envelope.sign(KEY, {}, 60))


def test_out_of_time_is_refused(monkeypatch):
    signed = envelope.sign(KEY, {}, 60)
    now = time.time()
    for then in (now + 60 + envelope.CLOCK_SKEW + 5, now - envelope.CLOCK_SKEW - 5):
        monkeypatch.setattr(envelope.time, "time", lambda then=then: then)
        with pytest.raises(envelope.BadEnvelope, match="time"):
            envelope.verify(KEY.public_key(), signed)


@pytest.mark.parametrize(
    "junk",
    [None, 7, "x", [], {}, {"payload": "{}"}, {"payload": "{}", "signature": "!"}, {"payload": b"", "signature": 1},
     {"payload": "[]", "signature": base64.b64encode(KEY.sign(b"[]")).decode()},
     {"payload": "{}", "signature": base64.b64encode(KEY.sign(b"{}")).decode()}],
)  # fmt: skip
def test_junk_is_refused(junk):
    with pytest.raises(envelope.BadEnvelope):
        envelope.verify(KEY.public_key(), junk)


def test_a_key_file_is_private_and_made_once(tmp_path):
    path = tmp_path / "deep" / "agent.pem"
    envelope.make_key(path)
    first = path.read_bytes()
    envelope.make_key(path)
    assert path.read_bytes() == first
    assert path.stat().st_mode & 0o077 == 0
    assert envelope.public_key(envelope.public_text(envelope.load_key(path)))
