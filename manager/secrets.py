"""Sealing of secrets at rest and hashing of passwords."""

from __future__ import annotations

import base64
import os
import secrets
from functools import cache
from typing import Any

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Text
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.types import TypeDecorator

from manager.config import settings

_NONCE = 12
_hasher = PasswordHasher()


@cache
def _box() -> AESGCM:
    return AESGCM(base64.b64decode(settings().secret_key_file.read_text()))


def seal(text: str) -> str:
    """`text` encrypted with AES-256-GCM under the key file, as base64 of nonce and ciphertext."""
    nonce = os.urandom(_NONCE)
    return base64.b64encode(nonce + _box().encrypt(nonce, text.encode(), None)).decode()


def unseal(sealed: str) -> str:
    """:raises cryptography.exceptions.InvalidTag: sealed under another key, or altered"""
    raw = base64.b64decode(sealed)
    return _box().decrypt(raw[:_NONCE], raw[_NONCE:], None).decode()


class Sealed(TypeDecorator[str]):
    """A text column that is encrypted in the database and plain in the program."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Any) -> str | None:
        return None if value is None else seal(value)

    def process_result_value(self, value: str | None, _dialect: Any) -> str | None:
        return None if value is None else unseal(value)


class SealedJson(TypeDecorator[Any]):
    """JSON that may hold guests' passwords and user data: encrypted in the database, plain values in the program."""

    impl = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: Any, _dialect: Any) -> str | None:
        return None if value is None else seal(msgspec.json.encode(value).decode())

    def process_result_value(self, value: str | None, _dialect: Any) -> Any:
        return None if value is None else msgspec.json.decode(unseal(value))


def hash_password(password: str) -> str:
    return _hasher.hash(password)


@cache
def unusable_hash() -> str:
    """A hash that nothing fits, and that takes as long to compare as others: of whom others keep the password."""
    return hash_password(secrets.token_urlsafe(32))


def password_matches(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False
