"""`login`: a password for keys, which are kept; the password is not."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

from ui.shell.client import Client
from ui.shell.errors import AuthError, ShellError, UsageError
from ui.shell.grammar import Options
from ui.shell.profiles import ENVIRONMENT, SECTION, Profile
from ui.shell.screen import Screen
from ui.shell.shell import Shell

KEYS_BY = ("getUserKeys", "registerUserKeys")  # the first shows keys that there are, the second makes them


def log_in(shell: Shell, words: list[str], options: Options, out: Screen) -> None:
    """:raises ShellError: the server refuses, or the user has no keys and may make none"""
    given = dict(zip(("url", "user", "domain"), words, strict=False))
    near = _near(shell, options.profile)
    url = address(given.get("url") or _asked("Address of the API", near.url if near else ""))
    username = given.get("user") or _asked("User", "admin")
    domain = given.get("domain") or (_asked("Domain", "/") if len(words) < 2 else "/")  # noqa: PLR2004 - URL and user
    base = Profile("login", url, source="login")
    if near and near.url == url:
        base = base._replace(verify=near.verify, ca=near.ca, proxy=near.proxy)
    base = base.trusting(options.verifycert)
    with Client(base, ask=read_secret) as client:
        session = client.log_in(username, read_secret(f"Password of {username}: "), domain)
        key, secret = _keys(client, str(session.get("userid", "")))
    name = options.profile or _name(url, shell)
    shell.config.save(base._replace(name=name, key=key, secret=secret))
    shell.config.set("profile", name)
    shell.use(shell.config.profiles()[name])
    shell.sync()
    out.write(f"Logged in as {username}. The keys are the profile {name} in {shell.config.path}.\n")
    if ENVIRONMENT in shell.config.profiles():
        shell.remark(f"The CLOUDSTACK_* variables count before it, unless it is named: -p {name}")


def address(text: str) -> str:
    """`cloud.example.org:8080` as the address of its API."""
    url = text if "://" in text else f"http://{text}"
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/client/api"


def _near(shell: Shell, name: str) -> Profile | None:
    """The profile to take defaults from."""
    known = shell.config.profiles()
    return known.get(name) if name else next(iter(known.values()), None)


def _name(url: str, shell: Shell) -> str:
    host = urlsplit(url).hostname or "cloud"
    ours = shell.config.own
    known = next((s for s, v in ours.items() if s.startswith(SECTION) and v.get("url") == url), "")
    return known.removeprefix(SECTION) or host


def _keys(client: Client, user_id: str) -> tuple[str, str]:
    refused: ShellError = UsageError("The server gives no keys.")
    for command in KEYS_BY:
        try:
            found = client.call(command, {"id": user_id}).get("userkeys", {})
        except AuthError:
            raise
        except ShellError as error:
            refused = error
            continue
        if found.get("apikey") and found.get("secretkey"):
            return str(found["apikey"]), str(found["secretkey"])
    raise refused


def _asked(question: str, default: str) -> str:
    """:raises UsageError: there is no terminal to ask on"""
    if not sys.stdin.isatty():
        if default and question != "Address of the API":
            return default
        raise UsageError("Without a terminal login needs: URL USER, and the password on the standard input.")
    sys.stderr.write(f"{question} [{default}]: " if default else f"{question}: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() or default


def read_secret(prompt: str) -> str:
    """From the terminal without an echo, or a line of the standard input; what stands above the question is told."""
    told, _, prompt = prompt.rpartition("\n")
    if told:
        sys.stderr.write(f"{told}\n")
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    from getpass import getpass

    return getpass(prompt)
