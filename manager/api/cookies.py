"""The cookies of login sessions, as responses carry them."""

from __future__ import annotations

from collections.abc import Mapping

from werkzeug.wrappers import Response


def put(response: Response, cookies: Mapping[str, str | None], *, secure: bool) -> None:
    """Set the cookies; those that are None expire."""
    for name, value in cookies.items():
        if value is None:
            response.delete_cookie(name, path="/client", httponly=True, samesite="Lax")
        else:
            response.set_cookie(name, value, path="/client", httponly=True, samesite="Lax", secure=secure)
