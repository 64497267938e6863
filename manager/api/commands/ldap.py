"""LDAP directories: their servers, who is in them, and who of them may enter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from manager import access, directory
from manager.api import ldap_login
from manager.api.call import Call
from manager.api.command import ADMINS, ROOT, Given, ListRequest, Page, Request, command
from manager.api.commands.account import AccountResponse, make_account
from manager.api.commands.user import add_user
from manager.api.errors import Invalid
from manager.api.fields import Choice, Integer, MapOf, Ref, Text
from manager.api.response import Int, Response, Shown, Str
from manager.db import write
from manager.directory import Person, Place, Terms
from manager.models import Account, Domain, LdapLink, LdapServer, Role, User
from manager.models.identity import DOMAIN_ADMIN, PROJECT, RESOURCE_ADMIN

HIGHEST_PORT = 65535
KINDS = ("GROUP", "OU")
NO_SERVER = "There is no LDAP server for {}; addLdapConfiguration adds one."


class LdapConfigurationResponse(Response):
    object_key = "LdapConfiguration"
    shows = LdapServer
    id = Str("the id of it")
    hostname = Str("the server's name or address")
    port = Int("the server's port")
    domainid = Str("the id of the domain that it is for; all that have none when absent")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[LdapServer]) -> list[Shown]:
        return [{"id": row.id, "hostname": row.hostname, "port": row.port, "domainid": row.domain_id} for row in rows]


class AddLdapConfiguration(Request):
    hostname = Text("the server's name or address", required=True)
    port = Integer("the server's port; 389, or 636 with ldap.tls ldaps", least=1, most=HIGHEST_PORT, required=True)
    domainid = Ref(Domain, "the domain that it is for, with those below it; all that have none when absent")


@command(
    "addLdapConfiguration",
    AddLdapConfiguration,
    LdapConfigurationResponse,
    creates=True,
    roles=ROOT,
    event="LDAP.CONFIGURATION.ADD",
    object_key="LdapAddConfiguration",
)
def add_ldap_configuration(call: Call, hostname: str, port: int, domainid: Domain | None) -> LdapServer:
    """Add a server of an LDAP directory."""
    name = hostname.strip().lower()
    if not name or any(letter in "/ @?#[]" for letter in name):
        raise Invalid("The hostname is a name or an address, without port and scheme.")
    server = LdapServer(hostname=name, port=port, domain_id=domainid.id if domainid else None)
    server.live = f"{server.domain_id or '-'}/{name}:{port}"
    stored: LdapServer = call.add(server, taken=f"The LDAP server {name}:{port} is there already.")
    return stored


class OneLdapConfiguration(Request):
    id = Ref(LdapServer, "the server; unless hostname is given")
    hostname = Text("its name or address")
    port = Integer("its port", least=1, most=HIGHEST_PORT)
    domainid = Ref(Domain, "the domain that it is for")


@command(
    "deleteLdapConfiguration",
    OneLdapConfiguration,
    LdapConfigurationResponse,
    roles=ROOT,
    event="LDAP.CONFIGURATION.DELETE",
    object_key="LdapDeleteConfiguration",
)
def delete_ldap_configuration(call: Call, given: Given) -> LdapServer:
    """Remove a server of an LDAP directory."""
    if given.id is None and given.hostname is None:
        raise Invalid("Give the id of the LDAP server, or its hostname.")
    found = call.session.scalars(_servers(given)).all()
    if len(found) != 1:
        raise Invalid(f"{len(found)} LDAP servers are what was named, and one must be.")
    server: LdapServer = found[0]
    server.remove()
    return server


class ListLdapConfigurations(ListRequest):
    id = Ref(LdapServer, "only this one")
    hostname = Text("only those of this name or address")
    port = Integer("only those of this port", least=1, most=HIGHEST_PORT)
    domainid = Ref(Domain, "only those for this domain")


@command("listLdapConfigurations", ListLdapConfigurations, LdapConfigurationResponse, roles=ROOT)
def list_ldap_configurations(call: Call, given: Given) -> Page:
    """List servers of LDAP directories."""
    query = _servers(given)
    if given.keyword:
        query = query.where(LdapServer.hostname.contains(given.keyword.lower(), autoescape=True))
    return call.paged(query.order_by(LdapServer.hostname, LdapServer.port, LdapServer.id))


def _servers(given: Given) -> Any:
    query = select(LdapServer).where(LdapServer.removed.is_(None))
    if given.id is not None:
        query = query.where(LdapServer.id == given.id.id)
    if given.hostname is not None:
        query = query.where(LdapServer.hostname == given.hostname.strip().lower())
    if given.port is not None:
        query = query.where(LdapServer.port == given.port)
    if given.domainid is not None:
        query = query.where(LdapServer.domain_id == given.domainid.id)
    return query


# --- people -----------------------------------------------------------------------------------------------------------


class LdapUserResponse(Response):
    object_key = "LdapUser"
    username = Str("the user name")
    firstname = Str("the first name")
    lastname = Str("the last name")
    email = Str("the e-mail address")
    principal = Str("the name (DN) in the directory")
    domain = Str("the innermost organizational unit")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Person]) -> list[Shown]:
        return [
            {
                "username": row.username,
                "firstname": row.first_name or None,
                "lastname": row.last_name or None,
                "email": row.email or None,
                "principal": row.dn,
                "domain": row.unit or None,
            }
            for row in rows
        ]


def _terms(call: Call, domain: Domain | None) -> Terms:
    """:raises Invalid: the domain has no directory"""
    terms = ldap_login.terms_of(call.session, domain)
    if terms is None:
        raise Invalid(NO_SERVER.format(f"the domain {domain.shown_path}" if domain else "all domains"))
    return terms


def _sorted(people: list[Person]) -> list[Person]:
    return sorted(people, key=lambda person: (person.username.lower(), person.dn))


class ListLdapUsers(ListRequest):
    listtype = Choice("all, or those that are new to the cloud", ("all", "new"), default="all")
    domainid = Ref(Domain, "the directory of this domain; that of the caller's when absent")


@command("listLdapUsers", ListLdapUsers, LdapUserResponse, roles=ADMINS)
def list_ldap_users(call: Call, given: Given) -> Page:
    """List people of an LDAP directory."""
    people = directory.search(_terms(call, given.domainid or call.domain), part=given.keyword)
    if given.listtype == "new":
        users = select(User.username).where(access.reach(call, User, access.READ), User.removed.is_(None))
        known = {name.lower() for name in call.session.scalars(users)}
        people = [person for person in people if person.username.lower() not in known]
    return call.window(_sorted(people))


class SearchLdap(ListRequest):
    query = Text("a part of a user name, a name or an address", required=True)


@command("searchLdap", SearchLdap, LdapUserResponse, shape="list", roles=ROOT)
def search_ldap(call: Call, query: str, keyword: str | None) -> Page:
    """Search the LDAP directory for people."""
    people = directory.search(_terms(call, call.domain), part=query)
    wanted = (keyword or "").lower()
    return call.window(_sorted([person for person in people if wanted in person.username.lower()]))


class NewLdapAccount(Request):
    account = Text("the account, which is made where there is none of the name; the user's name when absent")
    accounttype = Integer("0 user, 1 root, 2 domain, 3 resource administrator", most=RESOURCE_ADMIN)
    roleid = Ref(Role, "the account's role, which also gives its type", right=access.USE)
    domainid = Ref(Domain, "the account's domain; the caller's when absent", right=access.USE)
    timezone = Text("the time zone, such as Europe/Berlin")
    accountdetails = MapOf("details of the account")


class LdapCreateAccount(NewLdapAccount):
    username = Text("the name of the user in the directory", required=True)
    networkdomain = Text("the DNS suffix of the account's networks")


@command("ldapCreateAccount", LdapCreateAccount, AccountResponse, creates=True, roles=ROOT, event="ACCOUNT.CREATE")
def ldap_create_account(call: Call, given: Given) -> Account:
    """Make a user of somebody in the LDAP directory, which keeps the password."""
    domain = given.domainid or call.domain
    person = directory.person(_terms(call, domain), given.username)
    if person is None:
        raise Invalid(f"The LDAP directory has no one enabled user {given.username} who may enter.")
    return _add(call, domain, person, given.values)


def _add(call: Call, domain: Domain, person: Person, values: dict[str, Any]) -> Account:
    """The account of the new user that the person becomes; a new one where there is none of the name.

    :raises ApiError: the user is there already, or the caller may not make such an account
    """
    known = {"networkdomain": None, **values, "domainid": domain, "username": person.username}
    known |= {"firstname": person.first_name, "lastname": person.last_name, "email": person.email}
    given = Given(known)
    name = given.account or person.username
    query = select(Account).where(Account.domain_id == domain.id, Account.name == name, Account.removed.is_(None))
    account = call.session.scalar(query.where(Account.type != PROJECT))
    if account is None:
        return make_account(call, given, ldap_login.LDAP)
    add_user(call, account, given, ldap_login.LDAP)
    return account


class ImportLdapUsers(NewLdapAccount, ListRequest):
    group = Text("only the members of the group of this name")


@command("importLdapUsers", ImportLdapUsers, LdapUserResponse, shape="list", roles=ROOT, event="USER.CREATE")
def import_ldap_users(call: Call, given: Given) -> Page:
    """Make users of people in the LDAP directory who are none yet, and list those."""
    domain = given.domainid or call.domain
    terms = _terms(call, domain)
    people = directory.in_group(terms, given.group) if given.group else directory.search(terms, part=given.keyword)
    lives = {f"{domain.id}/{person.username.lower()}": person for person in people if not person.is_disabled}
    known = set(call.session.scalars(select(User.live).where(User.live.in_(list(lives)))))
    new = [person for live, person in lives.items() if live not in known]
    for person in _sorted(new):
        _add(call, domain, person, given.values)
    call.subject = domain
    return call.window(_sorted(new))


# --- links ------------------------------------------------------------------------------------------------------------


class LinkResponse(Response):
    domainid = Str("the id of the domain")
    ldapdomain = Str("the name (DN) of the group or unit")
    type = Str("GROUP or OU")
    accounttype = Int("0 user, 2 domain administrator")
    accountid = Str("the id of the account")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[LdapLink]) -> list[Shown]:
        return [
            {
                "domainid": row.domain_id,
                "ldapdomain": row.place,
                "type": row.kind,
                "accounttype": row.account_type,
                "accountid": row.account_id,
            }
            for row in rows
        ]


class LinkDomainResponse(LinkResponse):
    object_key = "LinkDomainToLdap"


class LinkAccountResponse(LinkResponse):
    object_key = "linkAccountToLdap"
    account = Str("the account's name")


class LinkDomainToLdap(Request):
    domainid = Ref(Domain, "the domain", required=True, right=access.USE)
    type = Choice("what is linked to it", KINDS, required=True)
    ldapdomain = Text("the name (DN) of the group or unit", max_length=1024)
    accounttype = Integer("of which type new accounts are: 0 or 2", most=DOMAIN_ADMIN, required=True)
    admin = Text("who of them gets an account at once, as administrator of the domain")


@command("linkDomainToLdap", LinkDomainToLdap, LinkDomainResponse, roles=ROOT, event="LDAP.LINK.DOMAIN")
def link_domain_to_ldap(call: Call, given: Given) -> dict[str, Any]:
    """Let the members of a group or unit enter a domain; each gets an account at the first login."""
    if given.accounttype not in (0, DOMAIN_ADMIN):
        raise Invalid("The parameter accounttype is 0 for users or 2 for administrators of the domain.")
    domain: Domain = given.domainid
    link = _link(call, domain, domain.id, given.type, given.ldapdomain)
    link.account_type = given.accounttype
    call.add(link, taken=f"The domain {domain.shown_path} is being linked by another call.")
    call.subject = domain
    (shown,) = LinkDomainResponse.shown(call, [link])
    if given.admin:
        person = directory.person(_terms(call, domain), given.admin, Place(link.kind, link.place))
        if person is None:
            raise Invalid(f"The {link.kind} {link.place} has no one enabled user {given.admin}.")
        values = {"account": None, "accounttype": DOMAIN_ADMIN, "roleid": None, "timezone": None}
        shown["accountid"] = _add(call, domain, person, values | {"accountdetails": None}).id
    return {"LinkDomainToLdap": shown}


class LinkAccountToLdap(Request):
    domainid = Ref(Domain, "the account's domain", required=True, right=access.USE)
    account = Text("the account's name", required=True)
    type = Choice("what is linked to it", KINDS, default="GROUP")
    ldapdomain = Text("the name (DN) of the group or unit", max_length=1024, required=True)


@command("linkAccountToLdap", LinkAccountToLdap, LinkAccountResponse, roles=ADMINS, event="LDAP.LINK.ACCOUNT")
def link_account_to_ldap(call: Call, given: Given) -> dict[str, Any]:
    """Let the members of a group or unit enter an account; each becomes its user at the first login."""
    account = access.owner(call, given.account, given.domainid, access.MANAGE)
    link = _link(call, given.domainid, account.id, given.type, given.ldapdomain)
    link.account_id, link.account_type = account.id, account.type
    call.add(link, taken=f"The account {account.name} is being linked by another call.")
    call.subject = account
    (shown,) = LinkAccountResponse.shown(call, [link])
    return {"linkAccountToLdap": {**shown, "account": account.name}}


def _link(call: Call, domain: Domain, linked: str, kind: str, place: str | None) -> LdapLink:
    """A new link in place of the one that there may be.

    :raises Invalid: no place is named, or the domain has no directory
    """
    if not place:
        raise Invalid("The parameter ldapdomain is missing: the name (DN) of the group or unit.")
    if not directory.is_dn(place):
        raise Invalid(f"The parameter ldapdomain is no name (DN) such as cn=operators,dc=example,dc=org: {place}.")
    _terms(call, domain)
    write(call.session, delete(LdapLink).where(LdapLink.linked == linked))
    return LdapLink(linked=linked, domain_id=domain.id, kind=kind, place=place)
