"""Signed envelopes: nothing that comes over the broker has an effect before its signature is checked.

A payload is a JSON object; its exact bytes are signed with Ed25519 (RFC 8032) and travel as text, so that what was
verified is what is read. Redis and the Celery headers are not trusted with anything.
"""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

Envelope = dict[str, str]
CLOCK_SKEW = 300.0


class BadEnvelope(Exception):  # noqa: N818 - it names the thing refused
    """The envelope is forged, altered, expired or meant for another receiver; nothing was done."""


class Expired(BadEnvelope):
    """The envelope is genuine and was too long under way, or a clock is wrong."""


def make_key(path: Path) -> None:
    """Write a new private key (PEM, mode 600) unless there is one."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_bytes(pem)
    part.rename(path)


def load_key(path: Path) -> Ed25519PrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{path} holds no Ed25519 key.")
    return key


def public_text(key: Ed25519PrivateKey) -> str:
    """The public key as base64 of its 32 raw bytes."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def public_key(text: str) -> Ed25519PublicKey:
    """:raises ValueError: `text` is not base64 of 32 bytes"""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))


def sign(key: Ed25519PrivateKey, payload: dict[str, Any], lifetime: float) -> Envelope:
    """`payload` with issue and expiry times (seconds since 1970), signed."""
    now = time.time()
    body = msgspec.json.encode({**payload, "issued": now, "expires": now + lifetime})
    return {"payload": body.decode(), "signature": base64.b64encode(key.sign(body)).decode()}


def verify(key: Ed25519PublicKey, envelope: Any) -> dict[str, Any]:
    """The payload of an envelope that is genuine and in time.

    :raises BadEnvelope: it is not
    """
    try:
        body = envelope["payload"].encode()
        key.verify(base64.b64decode(envelope["signature"], validate=True), body)
        payload = msgspec.json.decode(body, type=dict[str, Any])
        issued, expires = float(payload["issued"]), float(payload["expires"])
    except (InvalidSignature, KeyError, TypeError, ValueError, AttributeError, msgspec.DecodeError) as error:
        raise BadEnvelope("The signature does not match.") from error
    if not issued - CLOCK_SKEW <= time.time() <= expires + CLOCK_SKEW:
        raise Expired("The envelope is out of its time.")
    return payload


def peek(envelope: Any) -> dict[str, Any]:
    """The payload, unverified: only to learn whose key to verify with.

    :raises BadEnvelope: not even that can be read
    """
    try:
        return msgspec.json.decode(envelope["payload"], type=dict[str, Any])
    except (KeyError, TypeError, msgspec.DecodeError) as error:
        raise BadEnvelope("The envelope cannot be read.") from error
