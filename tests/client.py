"""A client of the CloudStack wire for tests, over Flask's own, and the callers that it signs for."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

from flask import Flask
from sqlalchemy import Engine, select

from manager import db
from manager.api.signature import canonical, sign
from manager.identity_seed import keys_of
from manager.models import Account, User


class Refused(Exception):  # noqa: N818 - it names what happened
    """An answer other than 200; `code` is the status, and `body` what stands under the wrapper."""

    def __init__(self, code: int, body: dict[str, Any], wrapper: str) -> None:
        super().__init__(f"{code} {body.get('errortext')}")
        self.code, self.body, self.wrapper = code, body, wrapper
        self.text = body.get("errortext", "")


@dataclass(frozen=True)
class Caller:
    """A user with its keys."""

    key: str
    secret: str
    user: User
    account: Account

    @classmethod
    def of(cls, engine: Engine, username: str) -> Caller:
        with db.transaction(engine) as session:
            user = session.scalars(select(User).where(User.username == username, User.removed.is_(None))).one()
            keys = keys_of(session, user)
            return cls(keys.api_key, keys.secret_key, user, session.get_one(Account, user.account_id))


def signed(caller: Caller, parameters: dict[str, str]) -> dict[str, str]:
    parameters = {**parameters, "apiKey": caller.key}
    return {**parameters, "signature": sign(caller.secret, canonical(parameters))}


class Api:
    """`api("listZones", name="z")` gives what stands under the wrapper, or raises Refused."""

    def __init__(self, app: Flask, admin: Caller) -> None:
        self.app = app
        self.admin = admin
        self.client = app.test_client()
        self.wrapper = ""

    def __call__(self, command: str, caller: Caller | None = None, *, method: str = "GET", **given: Any) -> Any:
        """Parameters with other characters than names have come in `given` as `params={...}`."""
        parameters = {"command": command, "response": "json"}
        for name, value in {**given.pop("params", {}), **given}.items():
            if value is not None:
                parameters[name] = str(value).lower() if isinstance(value, bool) else str(value)
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10)
        parameters |= {"signatureVersion": "3", "expires": expires.strftime("%Y-%m-%dT%H:%M:%S+0000")}
        return self.send(signed(caller or self.admin, parameters), method=method)

    def send(self, parameters: dict[str, str], *, method: str = "GET") -> Any:
        options = {"query_string": parameters} if method == "GET" else {"data": parameters}
        response = self.client.open("/client/api", method=method, **options)
        body = json.loads(response.data)
        ((self.wrapper, content),) = body.items()
        if response.status_code != 200:
            raise Refused(response.status_code, content, self.wrapper)
        return content
