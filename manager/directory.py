"""People in an LDAP directory: searching for them, and proving that one is who he says.

python-ldap is imported on use: it is the extra `pileus[ldap]`, since it is built against the system's OpenLDAP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

Found = TypeVar("Found")

RESOURCE_UNAVAILABLE = 534
ACTIVE_DIRECTORY_DISABLED = 2
MOST_PEOPLE = 10_000


class DirectoryUnusable(Exception):  # noqa: N818 - it names what happened
    """No server could be asked, or none takes what it is asked; the text is for administrators."""

    code = RESOURCE_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Server:
    hostname: str
    port: int


@dataclass(frozen=True, slots=True)
class Terms:
    """A directory: its servers, each of which will do, and what the settings ldap.* say of it. `seconds` an answer."""

    servers: tuple[Server, ...]
    base: str
    principal: str
    password: str
    tls: str
    truststore: str
    seconds: float
    page: int
    person_class: str
    username: str
    email: str
    first_name: str
    last_name: str
    group_class: str
    member: str
    needed_group: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the directory; what it does not tell is ''. `dn` is his name there."""

    dn: str
    username: str
    email: str
    first_name: str
    last_name: str
    is_disabled: bool = False

    @property
    def unit(self) -> str:
        """The innermost organizational unit that he is in."""
        found = re.search(r"(?:^|,)\s*ou=([^,]*)", self.dn, re.IGNORECASE)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the directory: a GROUP, by its members, or an OU, by what is below it. `dn` is its name."""

    kind: str
    dn: str


def search(terms: Terms, username: str | None = None, part: str | None = None) -> list[Person]:
    """The people of that user name, or who have `part` in their user name, names or address; else all.

    :raises DirectoryUnusable: see there
    """
    return _at(terms, lambda link: list(_people(link, terms, username, part)))


def in_group(terms: Terms, name: str) -> list[Person]:
    """The people whom the groups of that common name have as members.

    :raises DirectoryUnusable: see there
    """

    def find(link: Any) -> list[Person]:
        groups = _entries(link, terms, terms.base, _filter(terms.group_class, "cn", name))
        members = {_text(value): None for _, entry in groups for value in _values(entry, terms.member)}
        return [one for dn in members for one in _people(link, terms, at=dn)]

    return _at(terms, find)


def person(terms: Terms, username: str, place: Place | None = None) -> Person | None:
    """The one person of that user name who may enter, and is in `place`; None for none, or more than one.

    :raises DirectoryUnusable: see there
    """
    return _at(terms, lambda link: _one(link, terms, username, place))


def proven(terms: Terms, username: str, password: str, place: Place | None = None) -> Person | None:
    """As `person`, if the password is his: None for a wrong one, and for an empty one, with which servers let in
    anybody, unnamed.

    :raises DirectoryUnusable: see there
    Source: RFC 4513, section 5.1.2; CVE-2014-7807.
    """
    if not password or "\0" in password:
        return None
    found = person(terms, username, place)
    if found is None:
        return None
    ldap = _library()

    def bind(link: Any) -> Person | None:
        try:
            link.simple_bind_s(found.dn, password)
        except (ldap.INVALID_CREDENTIALS, ldap.INAPPROPRIATE_AUTH, ldap.UNWILLING_TO_PERFORM, ldap.NO_SUCH_OBJECT):
            return None
        return found

    return _at(terms, bind, named=False)


def _library() -> ModuleType:
    """:raises DirectoryUnusable: it is not installed"""
    try:
        import ldap
    except ImportError as error:
        raise DirectoryUnusable(
            "Logins by LDAP need the package python-ldap, which pip installs with pileus[ldap] where the headers of "
            "OpenLDAP and SASL are (Debian: libldap-dev, libsasl2-dev)."
        ) from error
    module: ModuleType = ldap
    return module


def _at(terms: Terms, work: Callable[[Any], Found], *, named: bool = True) -> Found:
    """What `work` finds at the first server that answers, over a connection that is closed afterwards.

    :raises DirectoryUnusable: none answers, or what is asked cannot be
    """
    ldap = _library()
    reasons: list[str] = []
    for server in terms.servers:
        try:
            with _connected(ldap, terms, server) as link:
                if named:
                    link.simple_bind_s(terms.principal, terms.password if terms.principal else "")
                return work(link)
        except (ldap.SERVER_DOWN, ldap.CONNECT_ERROR, ldap.TIMEOUT, ldap.UNAVAILABLE, ldap.BUSY) as error:
            reasons.append(f"{server.hostname}:{server.port}: {_told(error)}")
        except ldap.LDAPError as error:
            raise DirectoryUnusable(f"The LDAP server {server.hostname} refuses: {_told(error)}.") from error
    raise DirectoryUnusable(f"No LDAP server answers ({'; '.join(reasons) or 'there is none'}).")


@contextmanager
def _connected(ldap: ModuleType, terms: Terms, server: Server) -> Iterator[Any]:
    """A connection, encrypted to a server whose certificate was checked unless the settings want none."""
    scheme = "ldaps" if terms.tls == "ldaps" else "ldap"
    host = f"[{server.hostname}]" if ":" in server.hostname else server.hostname
    link = ldap.initialize(f"{scheme}://{host}:{server.port}")
    link.set_option(ldap.OPT_REFERRALS, 0)
    link.set_option(ldap.OPT_NETWORK_TIMEOUT, terms.seconds)
    link.set_option(ldap.OPT_TIMEOUT, terms.seconds)
    if terms.tls != "none":
        link.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        if terms.truststore:
            link.set_option(ldap.OPT_X_TLS_CACERTFILE, terms.truststore)
        link.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    try:
        if terms.tls == "starttls":
            link.start_tls_s()
        yield link
    finally:
        with suppress(ldap.LDAPError):
            link.unbind_s()


def _one(link: Any, terms: Terms, username: str, place: Place | None) -> Person | None:
    found = [one for one in _people(link, terms, username) if one.username.lower() == username.lower()]
    if len(found) != 1 or found[0].is_disabled:
        return None
    groups = [Place("GROUP", terms.needed_group)] if terms.needed_group else []
    wanted = [*groups, *([place] if place else [])]
    return found[0] if all(_is_in(link, terms, found[0], each) for each in wanted) else None


def _is_in(link: Any, terms: Terms, one: Person, place: Place) -> bool:
    ldap = _library()
    if place.kind == "OU":
        return _dn(one.dn)[-len(_dn(place.dn)) :] == _dn(place.dn)
    try:
        return bool(_entries(link, terms, place.dn, _filter(terms.group_class, terms.member, one.dn), ldap.SCOPE_BASE))
    except ldap.NO_SUCH_OBJECT:
        return False


def _dn(text: str) -> list[Any]:
    """The parts of a name, outermost last, as they are compared."""
    from ldap.dn import str2dn

    return [[(kind.lower(), value.lower()) for kind, value, _ in part] for part in str2dn(text)]


def is_dn(text: str) -> bool:
    """Whether `text` is a name in a directory.

    :raises DirectoryUnusable: python-ldap is not installed
    """
    _library()
    from ldap.dn import is_dn as has_form

    return bool(text) and bool(has_form(text))


def _people(
    link: Any, terms: Terms, username: str | None = None, part: str | None = None, at: str | None = None
) -> Iterator[Person]:
    """The people of that user name, or that have `part` somewhere, or the one whose name (DN) is `at`; else all."""
    ldap = _library()
    from ldap.filter import escape_filter_chars

    wanted = f"(objectClass={terms.person_class})"
    if username is not None:
        wanted = _filter(terms.person_class, terms.username, username)
    elif part:
        names = (terms.username, terms.email, terms.first_name, terms.last_name)
        either = "".join(f"({name}=*{escape_filter_chars(part)}*)" for name in names)
        wanted = f"(&{wanted}(|{either}))"
    scope = None if at is None else ldap.SCOPE_BASE
    try:
        entries = _entries(link, terms, terms.base if at is None else at, wanted, scope)
    except (ldap.NO_SUCH_OBJECT, ldap.INVALID_DN_SYNTAX):
        if at is None:
            raise
        entries = []  # groups may name who is gone
    for dn, entry in entries:
        if _first(entry, terms.username):
            yield _person(terms, dn, entry)


def _person(terms: Terms, dn: str, entry: dict[str, list[bytes]]) -> Person:
    control = _first(entry, "userAccountControl")
    off = control.isdecimal() and bool(int(control) & ACTIVE_DIRECTORY_DISABLED)
    names = [_first(entry, name) for name in (terms.username, terms.email, terms.first_name, terms.last_name)]
    return Person(dn, names[0], names[1], names[2], names[3], is_disabled=off)


def _filter(kind: str, attribute: str, value: str) -> str:
    from ldap.filter import escape_filter_chars

    return f"(&(objectClass={kind})({attribute}={escape_filter_chars(value)}))"


def _entries(
    link: Any, terms: Terms, base: str, wanted: str, scope: int | None = None
) -> list[tuple[str, dict[str, list[bytes]]]]:
    """The entries below `base` that fit, asked for page by page.

    :raises DirectoryUnusable: there are more than MOST_PEOPLE
    """
    ldap = _library()
    from ldap.controls import SimplePagedResultsControl

    within = ldap.SCOPE_SUBTREE if scope is None else scope
    attributes = [terms.username, terms.email, terms.first_name, terms.last_name, terms.member, "userAccountControl"]
    control = SimplePagedResultsControl(criticality=False, size=terms.page, cookie=b"")
    found: list[tuple[str, dict[str, list[bytes]]]] = []
    while len(found) <= MOST_PEOPLE:
        asked = link.search_ext(base, within, wanted, attributes, serverctrls=[control], timeout=terms.seconds)
        _, entries, _, answered = link.result3(asked, timeout=terms.seconds)
        found += [(dn, entry) for dn, entry in entries if dn is not None]  # None: a referral to another server
        cookies = [one.cookie for one in answered if one.controlType == control.controlType]
        if not cookies or not cookies[0]:
            return found
        control.cookie = cookies[0]
    raise DirectoryUnusable(f"The LDAP directory tells of more than {MOST_PEOPLE} people; ask for a part of them.")


def _values(entry: dict[str, list[bytes]], name: str) -> list[bytes]:
    """Attributes are named in any case."""
    return next((values for key, values in entry.items() if key.lower() == name.lower()), [])


def _first(entry: dict[str, list[bytes]], name: str) -> str:
    return _text(next(iter(_values(entry, name)), b""))


def _text(value: bytes) -> str:
    return value.decode(errors="replace").replace("\0", "")


def _told(error: Exception) -> str:
    facts = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return ": ".join(str(facts[name]) for name in ("desc", "info") if facts.get(name)) or type(error).__name__
