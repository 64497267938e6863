"""Login sessions: made at login, kept alive by use; ended by logout, by time, and when their user changes."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import Any

from sqlalchemy import bindparam, delete, update
from sqlalchemy.orm import Session

from manager import configuration
from manager.db import epoch, write
from manager.models import LoginSession

TOUCH_SECONDS = 60
SESSION_KEY_BYTES = 20


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def timeout(session: Session) -> int:
    """Seconds without a call after which a session has ended."""
    return 60 * int(configuration.value(session, "session.timeout"))


def open_session(session: Session, user_id: str, *, verified: bool) -> tuple[str, str]:
    """A new session of the user: its token, for the cookie JSESSIONID, and its session key. Old ones are swept."""
    token = secrets.token_urlsafe(32)
    key = base64.urlsafe_b64encode(secrets.token_bytes(SESSION_KEY_BYTES)).decode().rstrip("=")
    session.execute(delete(LoginSession).where(LoginSession.last_used < epoch() - timeout(session)))
    row = LoginSession(token_hash=_hash(token), user_id=user_id, session_key_hash=_hash(key), verified=verified)
    row.last_used = epoch()  # an SQL expression: by the database's clock
    session.add(row)
    return token, key


def living(query: Any) -> Any:
    """`query` over LoginSession, narrowed to the living session of the parameters that `proof` makes."""
    return query.where(
        LoginSession.token_hash == bindparam("token_hash"),
        LoginSession.session_key_hash == bindparam("key_hash"),
        LoginSession.last_used >= epoch() - bindparam("timeout"),
    )


def proof(session: Session, token: str, key: str) -> dict[str, str | int]:
    return {"token_hash": _hash(token), "key_hash": _hash(key), "timeout": timeout(session)}


def touch(session: Session, row: LoginSession) -> None:
    """Note the use of a session; at most one write a minute, and none while the process's clock says it is early."""
    if abs(time.time() - row.last_used) < TOUCH_SECONDS / 2:
        return
    mine = LoginSession.token_hash == row.token_hash
    stale = LoginSession.last_used < epoch() - TOUCH_SECONDS
    session.execute(
        update(LoginSession).where(mine, stale).values(last_used=epoch()),
        execution_options={"synchronize_session": False},
    )


def close(session: Session, token: str) -> None:
    session.execute(delete(LoginSession).where(LoginSession.token_hash == _hash(token)))


def verify(session: Session, row: LoginSession) -> None:
    """The user of the session has given the code of its second factor."""
    write(session, update(LoginSession).where(LoginSession.token_hash == row.token_hash).values(verified=True))


def close_all(session: Session, user_id: str, *, but: LoginSession | None = None) -> None:
    """End every session of the user `but` that one, as how it proves who it is changed, or it may no longer enter."""
    others = LoginSession.user_id == user_id
    if but is not None:
        others &= LoginSession.token_hash != but.token_hash
    session.execute(delete(LoginSession).where(others))
