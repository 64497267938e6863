"""Which cloud to talk to and as whom: profiles from the environment, own and others' files; the shell's settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ui.shell import ini
from ui.shell.errors import UsageError

ENVIRONMENT = "environment"
SECTION = "profile "
SETTINGS = {
    "profile": "the profile that is used when none is named",
    "output": "the output format when none is asked for",
    "block": "whether commands wait for their jobs: true or false",
    "timeout": "seconds after which waiting for a job, or for an answer, ends",
    "complete": "whether values are completed, which asks the server: true or false",
    "color": "auto, always or never",
}
DEFAULTS = {"block": "true", "timeout": "3600", "complete": "true", "color": "auto"}
CHOICES = {
    "block": ("true", "false"),
    "complete": ("true", "false"),
    "color": ("auto", "always", "never"),
    "output": ("table", "json", "jsonl", "yaml", "csv", "text", "xml", "column", "id"),
}
_FALSE = ("false", "0", "no", "off")


class Profile(NamedTuple):
    """`verify` is whether certificates are checked, `source` where the profile stands."""

    name: str
    url: str
    key: str = ""
    secret: str = ""
    username: str = ""
    password: str = ""
    domain: str = ""
    verify: bool = True
    source: str = ""


class Config:
    """Profiles and settings as the files and the environment have them now."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self.env = os.environ if env is None else env
        home = Path(self.env.get("HOME") or "~").expanduser()
        self.folder = Path(self.env.get("XDG_CONFIG_HOME") or home / ".config") / "pileus"
        self.cache = Path(self.env.get("XDG_CACHE_HOME") or home / ".cache") / "pileus"
        self.path = self.folder / "config"
        self.own = ini.read(self.path)
        self._cmk = home / ".cmk/config"
        self._cs = Path(self.env.get("CLOUDSTACK_CONFIG") or home / ".cloudstack.ini")

    def setting(self, name: str) -> str:
        return self.own.get("", {}).get(name) or DEFAULTS.get(name, "")

    def set(self, name: str, value: str) -> None:
        """:raises UsageError: there is no such setting, or it cannot have this value."""
        if name not in SETTINGS:
            raise UsageError(f"There is no setting {name}.", f"Settings: {', '.join(SETTINGS)}.")
        allowed = tuple(self.profiles()) if name == "profile" else CHOICES.get(name)
        if value and allowed is not None and value not in allowed:
            raise UsageError(f"The setting {name} cannot be {value}.", f"Possible: {', '.join(allowed) or 'nothing'}.")
        if name == "timeout" and value and not value.isdecimal():
            raise UsageError(f"The setting timeout is a number of seconds, and {value} is none.")
        self.own.setdefault("", {})[name] = value
        self.own = {"": self.own.pop(""), **self.own}
        ini.write(self.path, self.own)

    def save(self, profile: Profile) -> None:
        """Keep a profile, without any password, in the shell's own file."""
        values = {"url": profile.url, "apikey": profile.key, "secretkey": profile.secret}
        if not profile.verify:
            values["verifycert"] = "false"
        self.own[SECTION + profile.name] = values
        ini.write(self.path, self.own)

    def remove(self, name: str) -> None:
        """:raises UsageError: the profile does not stand in the shell's own file."""
        if self.own.pop(SECTION + name, None) is None:
            raise UsageError(f"{self.path} has no profile {name}.")
        ini.write(self.path, self.own)

    def profiles(self) -> dict[str, Profile]:
        """Every profile by name; of equal names the environment's counts, then our own file's, then others'."""
        found: dict[str, Profile] = {}
        for profile in [*self._from_environment(), *self._from_own(), *self._from_cmk(), *self._from_cs()]:
            found.setdefault(profile.name, profile)
        return found

    def chosen(self, name: str = "") -> Profile:
        """The profile `name`; without a name the environment's, the one that was set, CloudMonkey's, or the first.

        :raises UsageError: there is none
        """
        known = self.profiles()
        if name and name not in known:
            raise UsageError(f"There is no profile {name}.", f"Profiles: {', '.join(known) or 'none'}.")
        if not known:
            raise UsageError("No cloud is known yet.", "Log in with: pileus login URL USER")
        wanted = [name, ENVIRONMENT, self.env.get("CLOUDSTACK_REGION", ""), self.setting("profile"), self._cmk_choice()]
        return next((known[one] for one in wanted if one in known), next(iter(known.values())))

    def _from_environment(self) -> list[Profile]:
        def first(*names: str) -> str:
            return next((self.env[f"CLOUDSTACK_{name}"] for name in names if self.env.get(f"CLOUDSTACK_{name}")), "")

        url, key, secret = first("ENDPOINT", "API_URL"), first("KEY", "API_KEY"), first("SECRET", "SECRET_KEY")
        if not (url and key and secret):
            return []
        verify = first("VERIFY").lower() not in _FALSE
        return [Profile(ENVIRONMENT, url, key, secret, verify=verify, source="CLOUDSTACK_* variables")]

    def _from_own(self) -> list[Profile]:
        sections = {s.removeprefix(SECTION): v for s, v in self.own.items() if s.startswith(SECTION)}
        return [_profile(name, values, self.path) for name, values in sections.items()]

    def _from_cmk(self) -> list[Profile]:
        sections = ini.read(self._cmk)
        return [_profile(name, v, self._cmk, sections.get("", {})) for name, v in sections.items() if v.get("url")]

    def _from_cs(self) -> list[Profile]:
        sections = ini.read(self._cs)
        renamed = {s: {**v, "url": v["endpoint"]} for s, v in sections.items() if v.get("endpoint")}
        return [
            _profile(name, {**v, "apikey": v.get("key", ""), "secretkey": v.get("secret", "")}, self._cs)
            for name, v in renamed.items()
        ]

    def _cmk_choice(self) -> str:
        return ini.read(self._cmk).get("", {}).get("profile", "")


def _profile(name: str, values: Mapping[str, str], path: Path, general: Mapping[str, str] | None = None) -> Profile:
    verify = values.get("verifycert") or values.get("verify") or (general or {}).get("verifycert", "")
    return Profile(
        name,
        values.get("url", ""),
        values.get("apikey", ""),
        values.get("secretkey", ""),
        values.get("username", ""),
        values.get("password", ""),
        values.get("domain", ""),
        verify.lower() not in _FALSE,
        str(path),
    )
