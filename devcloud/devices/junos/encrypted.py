"""Secrets of a configuration: Junos shows them as `$9$` and a text that it can read itself, and takes both forms."""

from __future__ import annotations

import secrets

from lxml import etree

MAGIC = "$9$"
FAMILIES = ("QzF3n6/9CAtpu0O", "B1IREhcSyrleKvMW8LXx", "7N-dVbwsY2g4oaJZGUDj", "iHkq.mPf5T")
ALPHABET = "".join(FAMILIES)
EXTRA = {letter: 3 - number for number, family in enumerate(FAMILIES) for letter in family}
ENCODINGS = ((1, 4, 32), (1, 16, 32), (1, 8, 32), (1, 64), (1, 32), (1, 4, 16, 128), (1, 32, 64))
SECRETS = ("access/profile/client/firewall-user/password",)


def shown(configuration: etree._Element) -> None:
    """Turn what was given as plain text into what is shown."""
    for path in SECRETS:
        for leaf in configuration.findall(path):
            if leaf.text and not leaf.text.startswith(MAGIC):
                leaf.text = _encoded(leaf.text)


def plain(text: str) -> str:
    """:raises ValueError: it is none of these texts"""
    rest = text.removeprefix(MAGIC)
    if rest == text or not rest or not set(rest) <= set(ALPHABET):
        raise ValueError("malformed encrypted string")
    before, letters = rest[0], list(rest[1 + EXTRA[rest[0]] :])
    found = bytearray()
    while letters:
        weights = ENCODINGS[len(found) % len(ENCODINGS)]
        if len(letters) < len(weights):
            raise ValueError("malformed encrypted string")
        value = 0
        for weight in weights:
            letter = letters.pop(0)
            value += weight * ((ALPHABET.index(letter) - ALPHABET.index(before)) % len(ALPHABET) - 1)
            before = letter
        found.append(value % 256)
    return found.decode("latin-1")


def _encoded(secret: str) -> str:
    before = secrets.choice(ALPHABET)
    found = MAGIC + before + "".join(secrets.choice(ALPHABET) for _ in range(EXTRA[before]))
    for number, value in enumerate(secret.encode("latin-1")):
        rest, letters = value, list[str]()
        gaps = list[int]()
        for weight in reversed(ENCODINGS[number % len(ENCODINGS)]):
            gap, rest = divmod(rest, weight)
            gaps.insert(0, gap)
        for gap in gaps:
            before = ALPHABET[(ALPHABET.index(before) + gap + 1) % len(ALPHABET)]
            letters.append(before)
        found += "".join(letters)
    return found
