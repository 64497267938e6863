"""What a password must look like, by the settings of the domain of its user."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy.orm import Session

from manager import configuration
from manager.api.errors import Invalid
from manager.models import Domain


@dataclass(frozen=True)
class _Kind:
    """A kind of character: its setting, its pattern, and what it is called."""

    setting: str
    pattern: str
    name: str


_KINDS = (
    _Kind("password.policy.minimum.length", r".", "characters"),
    _Kind("password.policy.minimum.uppercase.letters", r"[A-Z]", "uppercase letters (A-Z)"),
    _Kind("password.policy.minimum.lowercase.letters", r"[a-z]", "lowercase letters (a-z)"),
    _Kind("password.policy.minimum.digits", r"[0-9]", "digits (0-9)"),
    _Kind(
        "password.policy.minimum.special.characters", r"[^A-Za-z0-9]", "characters that are neither letters nor digits"
    ),
)


def demand_good(session: Session, password: str, username: str, domain: Domain) -> str:
    """The password, which the policy of the domain admits.

    :raises Invalid: with the rule that it breaks; the password itself is never told
    """

    def setting(name: str) -> int | bool | str:
        found: int | bool | str = configuration.value(session, name, domain)
        return found

    for kind in _KINDS:
        least, there = int(setting(kind.setting)), len(re.findall(kind.pattern, password, re.DOTALL))
        if there < least:
            raise Invalid(
                f"A password has at least {least} {kind.name} in the domain {domain.shown_path}, not {there}."
            )
    if not setting("password.policy.allowPasswordToContainUsername") and username.lower() in password.lower():
        raise Invalid(f"A password does not hold the user's name in the domain {domain.shown_path}.")
    expression = str(setting("password.policy.regex"))
    if not re.fullmatch(expression, password):
        raise Invalid(f"A password matches the expression {expression} in the domain {domain.shown_path}.")
    return password
