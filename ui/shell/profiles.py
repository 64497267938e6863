"""Which cloud to talk to and as whom: profiles from the environment, own and others' files; the shell's settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ui.shell import ini
from ui.shell.errors import UsageError

if TYPE_CHECKING:
    from ui.shell.grammar import Options

ENVIRONMENT = "environment"
SECTION = "profile "
PROFILE_SETTINGS = {
    "url": "the address of the API",
    "username": "the user, where there are no keys",
    "password": "the user's password, where there are no keys",
    "domain": "the user's domain",
    "apikey": "the API key",
    "secretkey": "the secret key",
    "verifycert": "true, false, or the file of the CA that the server's certificate is checked by",
    "proxy": "http://HOST:PORT, or none; else the environment's",
}
SETTINGS = {
    "profile": "the profile that is used when none is named",
    "output": "the output format when none is asked for",
    "block": "whether commands wait for their jobs: true or false",
    "timeout": "seconds after which waiting for a job, or for an answer, ends",
    "complete": "whether values are completed, which asks the server: true or false",
    "color": "auto, always or never",
    "prompt": "what stands before the lines that are typed; {profile} is the profile's name",
}
DEFAULTS = {"block": "true", "timeout": "3600", "complete": "true", "color": "auto", "prompt": "pileus:{profile}>"}
ALIASES = {"asyncblock": "block", "autocomplete": "complete", "paramcompletion": "complete", "display": "output"}
"""CloudMonkey's names of settings."""
CHOICES = {
    "block": ("true", "false"),
    "complete": ("true", "false"),
    "color": ("auto", "always", "never"),
    "verifycert": ("true", "false"),
    "output": ("table", "json", "jsonl", "yaml", "csv", "text", "xml", "column", "id"),
}
_FALSE = ("false", "0", "no", "off")
_TRUE = ("", "true", "1", "yes", "on")


class Profile(NamedTuple):
    """`verify` is whether certificates are checked, `ca` the file that they are checked by, if not the system's.

    `source` is where the profile stands, `sessions` the folder that sessions are kept in.
    """

    name: str
    url: str
    key: str = ""
    secret: str = ""
    username: str = ""
    password: str = ""
    domain: str = ""
    verify: bool = True
    source: str = ""
    ca: str = ""
    proxy: str = ""
    sessions: str = ""

    def trusting(self, said: str) -> Profile:
        """As `verifycert` says: true, false or the file of a CA; unchanged where it says nothing."""
        if not said:
            return self
        ca = "" if said.lower() in (*_TRUE, *_FALSE) else said
        return self._replace(verify=said.lower() not in _FALSE, ca=ca)


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
        self._of_cmk = ini.read(self._cmk)
        self._cs = Path(self.env.get("CLOUDSTACK_CONFIG") or home / ".cloudstack.ini")

    def setting(self, name: str) -> str:
        """What was set here, else in CloudMonkey's file, else the usual.

        CloudMonkey writes `output = json` and its prompt for everybody: nobody has said so.
        """
        theirs = {ALIASES.get(one, one): value for one, value in self._of_cmk.get("", {}).items()}
        if name not in ("block", "complete", "timeout", "output") or (name, theirs.get(name)) == ("output", "json"):
            theirs = {}
        return self.own.get("", {}).get(name) or theirs.get(name) or DEFAULTS.get(name, "")

    def set(self, name: str, value: str) -> None:
        """:raises UsageError: there is no such setting, or it cannot have this value."""
        name = ALIASES.get(name, name)
        if name not in SETTINGS:
            raise UsageError(f"There is no setting {name}.", f"Settings: {', '.join([*SETTINGS, *PROFILE_SETTINGS])}.")
        value = "" if (name, value) == ("output", "default") else value
        allowed = tuple(self.profiles()) if name == "profile" else CHOICES.get(name)
        if value and allowed is not None and value not in allowed:
            raise UsageError(f"The setting {name} cannot be {value}.", f"Possible: {', '.join(allowed) or 'nothing'}.")
        if name == "timeout" and value and not value.isdecimal():
            raise UsageError(f"The setting timeout is a number of seconds, and {value} is none.")
        self.own.setdefault("", {})[name] = value
        self._write()

    def set_in_profile(self, profile: str, name: str, value: str) -> None:
        """Change one of PROFILE_SETTINGS of a profile, which is made where there is none.

        One of another program's file is first copied into ours, which counts before it.
        :raises UsageError: the profile is made of variables
        """
        if profile == ENVIRONMENT:
            raise UsageError(
                "The profile environment is made of the CLOUDSTACK_* variables: change them.",
                "Or make a profile: set url http://HOST:8080/client/api -p NAME",
            )
        self.save(self.profiles().get(profile, Profile(profile, "")))
        self.own[SECTION + profile][name] = value
        self._write()

    def save(self, profile: Profile) -> None:
        """Keep a profile in the shell's own file."""
        verify = profile.ca if profile.verify else "false"
        user = (profile.username, profile.password, profile.domain)
        told = (profile.url, *user, profile.key, profile.secret, verify, profile.proxy)
        values = dict(zip(PROFILE_SETTINGS, told, strict=True))
        self.own[SECTION + profile.name] = {name: value for name, value in values.items() if value}
        self._write()

    def _write(self) -> None:
        self.own = {"": self.own.pop("", {}), **self.own}
        ini.write(self.path, self.own)

    def remove(self, name: str) -> None:
        """:raises UsageError: the profile does not stand in the shell's own file."""
        if self.own.pop(SECTION + name, None) is None:
            raise UsageError(f"{self.path} has no profile {name}.")
        self._write()

    def profiles(self) -> dict[str, Profile]:
        """Every profile by name; of equal names the environment's counts, then our own file's, then others'."""
        found: dict[str, Profile] = {}
        for profile in [*self._from_environment(), *self._from_own(), *self._from_cmk(), *self._from_cs()]:
            found.setdefault(profile.name, profile._replace(sessions=str(self.cache)))
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

    def meant(self, options: Options) -> Profile:
        """The profile that the options of a line choose, with what they say instead of it."""
        if options.url and options.key and options.secret and not options.profile:
            base = Profile("options", "", source="the options -u, -k and -s")
        else:
            base = self.chosen(options.profile)
        key, secret = options.key or base.key, options.secret or base.secret
        said = base._replace(url=options.url or base.url, key=key, secret=secret)
        return said.trusting(options.verifycert)

    def _from_environment(self) -> list[Profile]:
        def first(*names: str) -> str:
            return next((self.env[f"CLOUDSTACK_{name}"] for name in names if self.env.get(f"CLOUDSTACK_{name}")), "")

        url, key, secret = first("ENDPOINT", "API_URL"), first("KEY", "API_KEY"), first("SECRET", "SECRET_KEY")
        if not (url and key and secret):
            return []
        found = Profile(ENVIRONMENT, url, key, secret, source="CLOUDSTACK_* variables")
        return [found.trusting(first("VERIFY"))]

    def _from_own(self) -> list[Profile]:
        sections = {s.removeprefix(SECTION): v for s, v in self.own.items() if s.startswith(SECTION)}
        return [_profile(name, values, self.path) for name, values in sections.items()]

    def _from_cmk(self) -> list[Profile]:
        sections = self._of_cmk
        return [_profile(name, v, self._cmk, sections.get("", {})) for name, v in sections.items() if v.get("url")]

    def _from_cs(self) -> list[Profile]:
        sections = ini.read(self._cs)
        renamed = {s: {**v, "url": v["endpoint"]} for s, v in sections.items() if v.get("endpoint")}
        return [
            _profile(name, {**v, "apikey": v.get("key", ""), "secretkey": v.get("secret", "")}, self._cs)
            for name, v in renamed.items()
        ]

    def _cmk_choice(self) -> str:
        return self._of_cmk.get("", {}).get("profile", "")


def _profile(name: str, values: Mapping[str, str], path: Path, general: Mapping[str, str] | None = None) -> Profile:
    verify = values.get("verifycert") or values.get("verify") or (general or {}).get("verifycert", "")
    url, key, secret, username, password, domain, proxy = (
        values.get(one, "") for one in ("url", "apikey", "secretkey", "username", "password", "domain", "proxy")
    )
    found = Profile(name, url, key, secret, username, password, domain, source=str(path), proxy=proxy)
    return found.trusting(verify)
