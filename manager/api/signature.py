"""Signatures of requests: HMAC-SHA1 over sorted, lower-cased parameters, as CloudStack and its clients make them."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from itertools import product
from urllib.parse import quote

_EXPIRES_FORMS = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z")


def sign(secret_key: str, text: str) -> str:
    """The signature of an already canonical `text`, in base64."""
    digest = hmac.new(secret_key.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def canonical(parameters: Mapping[str, str], *, fold: bool = False, raw: str = "") -> str:
    """What is signed. `fold` sorts names without regard to case; characters in `raw` stay unescaped in values.

    The server's form, which Java's URLEncoder makes, has neither.
    """
    names = sorted((name for name in parameters if name.lower() != "signature"), key=str.lower if fold else None)
    pairs = (f"{name}={_escape(parameters[name], raw)}" for name in names)
    return "&".join(pairs).lower()


def _escape(value: str, raw: str) -> str:
    text = quote(value, safe="*" + raw)
    return text if "~" in raw else text.replace("~", "%7E")


def _variants(parameters: Mapping[str, str]) -> Iterator[str]:
    """The server's form, then those of clients that sort or escape otherwise; only where they differ."""
    values = "".join(parameters.values())
    tildes = ("", "~") if "~" in values else ("",)
    brackets = ("", "[]") if "[" in values or "]" in values else ("",)
    names = [name for name in parameters if name.lower() != "signature"]
    folds = (False, True) if sorted(names) != sorted(names, key=str.lower) else (False,)
    for fold, tilde, bracket in product(folds, tildes, brackets):
        yield canonical(parameters, fold=fold, raw=tilde + bracket)


def matches(secret_key: str, parameters: Mapping[str, str], signature: str) -> bool:
    """Whether `signature` is one of these parameters. Every form is compared in constant time."""
    given = signature.encode()
    found = False
    for text in _variants(parameters):
        found |= hmac.compare_digest(sign(secret_key, text).encode(), given)
    return found


def is_fresh(parameters: Mapping[str, str], now: dt.datetime | None = None) -> bool:
    """Whether a request of signature version 3 has not expired; other versions carry no time.

    `parameters` have names in lower case.
    """
    if parameters.get("signatureversion") != "3":
        return True
    expires = expiry(parameters.get("expires", ""))
    return expires is not None and expires >= (now or dt.datetime.now(dt.UTC))


def expiry(text: str) -> dt.datetime | None:
    """The time in an `expires` parameter, or None where it cannot be read."""
    for form in _EXPIRES_FORMS:
        try:
            return dt.datetime.strptime(text, form)  # noqa: DTZ007 - both forms have %z
        except ValueError:
            continue
    return None
