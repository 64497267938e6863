"""How often somebody may try to prove who they are: wrong passwords and codes of a user share one count.

An attempt is counted before it is looked at, by one conditional update that holds the user's row until the call has
ended: of attempts that run at once none sees the count before the others have left theirs. Who has no attempt left is
answered as if it had been wrong. The count is forgotten some time after the last attempt, so that nobody, the last
administrator least of all, is shut out for ever by others' guesses; calls signed with keys are not concerned.
"""

from __future__ import annotations

from sqlalchemy import case, or_, update
from sqlalchemy.orm import Session

from manager import configuration
from manager.db import epoch, write
from manager.models import User

MOST_CODES = 5
"""Wrong codes in a row where the setting admits any number of attempts: a code is short enough to be guessed."""


def most_passwords(session: Session) -> int:
    """How many attempts in a row are looked at; 0 for any number."""
    return int(configuration.value(session, "incorrect.login.attempts.allowed"))


def most_codes(session: Session) -> int:
    return most_passwords(session) or MOST_CODES


def claim(session: Session, user_id: str, most: int, *, password_hash: str | None = None) -> bool:
    """Count an attempt; False when there is none left, or the password is no more the one of that hash.

    The same statement is sent for a user that there is not, whose `user_id` is empty.
    """
    seconds = 60 * configuration.value(session, "incorrect.login.lock.minutes")
    forgotten = User.last_attempt < epoch() - seconds
    guarded = update(User).where(User.id == user_id)
    if most:
        guarded = guarded.where(or_(User.failed_logins < most, forgotten))
    if password_hash is not None:
        guarded = guarded.where(User.password_hash == password_hash)
    # MariaDB assigns from left to right, and the first looks at what the second changes
    counted = (User.failed_logins, case((forgotten, 1), else_=User.failed_logins + 1)), (User.last_attempt, epoch())
    return write(session, guarded.ordered_values(*counted)) == 1


def take_back(session: Session, user_id: str) -> None:
    """The attempt was right, and another proof is still to come: it leaves the count as it was."""
    write(session, update(User).where(User.id == user_id).values(failed_logins=User.failed_logins - 1))


def forget(session: Session, user_id: str) -> None:
    """The user has proven who it is, or an administrator lets it in again."""
    write(session, update(User).where(User.id == user_id).values(failed_logins=0))
