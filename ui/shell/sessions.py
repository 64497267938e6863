"""Sessions of profiles that have a password and no keys, kept so that not every command has to log in."""

from __future__ import annotations

import contextlib
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ui.shell import ini

if TYPE_CHECKING:
    from ui.shell.profiles import Profile


class Session:
    """`key` goes with every call, `cookies` with every request; both are empty before the login.

    They stand for the password until the server ends the session: the file is for its owner alone.
    """

    def __init__(self, profile: Profile) -> None:
        self.key, self.cookies = "", ""
        self._path = _path(profile)
        if self._path is not None:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found = json.loads(self._path.read_text())
                self.key, self.cookies = str(found["key"]), str(found["cookies"])

    def take(self, cookie: str) -> None:
        """One cookie of an answer, in place of the one of that name."""
        name = cookie.partition("=")[0]
        others = [one for one in self.cookies.split("; ") if one and one.partition("=")[0] != name]
        self.cookies = "; ".join([*others, cookie])

    def keep(self) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):  # it then ends with this process
                ini.write_private(self._path, json.dumps({"key": self.key, "cookies": self.cookies}))

    def end(self) -> None:
        self.key, self.cookies = "", ""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()


def _path(profile: Profile) -> Path | None:
    if not profile.sessions or profile.key:
        return None
    mark = zlib.crc32(f"{profile.url} {profile.domain} {profile.username}".encode())
    return Path(profile.sessions) / f"{urlsplit(profile.url).hostname}-{mark:08x}.session"
