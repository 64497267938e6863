"""Secrets as Junos shows them in a configuration: `$9$` and a text that whoever knows the form can read again.

It takes such a text as well as a plain one. Given so, what a device shows equals what it was told.
"""

from __future__ import annotations

import hashlib

MAGIC = "$9$"
FAMILIES = ("QzF3n6/9CAtpu0O", "B1IREhcSyrleKvMW8LXx", "7N-dVbwsY2g4oaJZGUDj", "iHkq.mPf5T")
LETTERS = "".join(FAMILIES)
FILLERS = {letter: 3 - number for number, family in enumerate(FAMILIES) for letter in family}
"""How many letters without a meaning follow the first one."""
WEIGHTS = ((1, 4, 32), (1, 16, 32), (1, 8, 32), (1, 64), (1, 32), (1, 4, 16, 128), (1, 32, 64))


def hidden(secret: str) -> str:
    """The same for the same secret, which is of Latin-1."""
    chosen = [LETTERS[number % len(LETTERS)] for number in hashlib.sha256(secret.encode()).digest()]
    start = chosen[: 1 + FILLERS[chosen[0]]]
    found, before = start, start[0]
    for number, character in enumerate(secret.encode("latin-1")):
        for gap in _gaps(character, WEIGHTS[number % len(WEIGHTS)]):
            before = LETTERS[(LETTERS.index(before) + gap + 1) % len(LETTERS)]
            found.append(before)
    return MAGIC + "".join(found)


def _gaps(character: int, weights: tuple[int, ...]) -> list[int]:
    found: list[int] = []
    for weight in reversed(weights):
        found.insert(0, character // weight)
        character %= weight
    return found
