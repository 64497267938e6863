"""People of an LDAP directory, with a real slapd: found, made users, let in by the directory's word, and kept out."""

import json
import time

import pytest
from sqlalchemy import select

from manager import db
from manager.models import Account, Domain, LdapLink, User
from manager.models.changes import HIDDEN
from tests.client import Caller, Refused
from tests.slapd import BASE, GROUPS, PEOPLE, Slapd, group, person, tree

pytest.importorskip("ldap", reason="python-ldap is the extra pileus[ldap], and is not installed")

EVERYBODY = ("jo", "al", "zoe", "star*", "pa(r", "kim", "max")
INNER = f"ou=inner,{PEOPLE}"
SEARCHER = f"uid=kim,{PEOPLE}"
OPERATORS = f"cn=operators,{GROUPS}"


def _ldif():
    yield tree()
    yield f"dn: {INNER}\nobjectClass: organizationalUnit\nou: inner\n"
    yield from (person(name) for name in (*EVERYBODY, "twin"))
    yield person("twin", INNER)
    yield group("operators", "jo", "al", "gone")
    yield group("others", "al", "kim")


@pytest.fixture(scope="module")
def slapd(tmp_path_factory):
    server = Slapd(tmp_path_factory.mktemp("slapd"))
    server.load("\n".join(_ldif()))
    with server:
        yield server


@pytest.fixture
def settings(api, slapd):
    def change(**values):
        for name, value in values.items():
            api("updateConfiguration", name="ldap." + name.replace("_", "."), value=value)

    change(basedn=BASE, bind_principal=SEARCHER, bind_password="kim-password", truststore=slapd.certificate)
    change(read_timeout=5000, request_page_size=3)
    return change


@pytest.fixture
def server(api, slapd, settings):
    return api("addLdapConfiguration", hostname="127.0.0.1", port=slapd.port)["LdapAddConfiguration"]


@pytest.fixture
def jo(api, server):
    return api("ldapCreateAccount", username="jo", accounttype=0)["account"]


def log_in(api, username, password, **more):
    given = {"command": "login", "response": "json", "username": username, "password": password, **more}
    answer = api.app.test_client().post("/client/api", data=given)
    return answer.status_code, answer.get_json()["loginresponse"]


def enters(api, username, password=None, **more):
    return log_in(api, username, f"{username}-password" if password is None else password, **more)[0] == 200


def names(answer):
    return [user["username"] for user in answer.get("LdapUser", [])]


# --- servers ----------------------------------------------------------------------------------------------------------


def test_servers_are_kept(api, factory, server, slapd):
    assert server == {"id": server["id"], "hostname": "127.0.0.1", "port": slapd.port}
    with pytest.raises(Refused, match="is there already"):
        api("addLdapConfiguration", hostname="127.0.0.1", port=slapd.port)
    domain = factory.domain("a")
    other = api("addLdapConfiguration", hostname="Other.example.org", port=389, domainid=domain.id)
    assert api("listLdapConfigurations", domainid=domain.id)["LdapConfiguration"] == [other["LdapAddConfiguration"]]
    assert api("listLdapConfigurations")["count"] == 2
    assert api("listLdapConfigurations", keyword="OTHER", port=389)["count"] == 1
    assert api("deleteLdapConfiguration", hostname="other.example.org")["LdapDeleteConfiguration"]["port"] == 389
    api("deleteLdapConfiguration", id=server["id"])
    assert api("listLdapConfigurations") == {}
    for nothing in ({}, {"hostname": "none"}):
        with pytest.raises(Refused):
            api("deleteLdapConfiguration", **nothing)


@pytest.mark.parametrize("hostname", ["ldap://h", "h/x", "a b", "u@h"])
def test_what_is_no_server(api, hostname):
    with pytest.raises(Refused, match="without port and scheme"):
        api("addLdapConfiguration", hostname=hostname, port=389)


def test_the_password_of_the_search_is_sealed_and_shown_to_nobody(api, engine, server):
    shown = api("listConfigurations", name="ldap.bind.password")["configuration"][0]
    assert shown["value"] == HIDDEN
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, value FROM configuration").all()
    assert "kim-password" not in str(rows)
    assert "kim-password" not in json.dumps(api("listEvents", listall=True, pagesize=500, page=1))


def test_without_a_server_that_is_said(api, settings):
    for call in (lambda: api("listLdapUsers"), lambda: api("ldapCreateAccount", username="jo", accounttype=0)):
        with pytest.raises(Refused, match="There is no LDAP server for the domain ROOT"):
            call()


def test_a_server_that_does_not_answer_is_told_and_another_stands_for_it(api, server, slapd, settings):
    api("deleteLdapConfiguration", id=server["id"])
    api("addLdapConfiguration", hostname="127.0.0.1", port=1)
    with pytest.raises(Refused, match="No LDAP server answers") as refused:
        api("listLdapUsers")
    assert refused.value.code == 534
    api("addLdapConfiguration", hostname="127.0.0.1", port=slapd.port)
    assert "jo" in names(api("listLdapUsers"))


def test_a_wrong_password_of_the_search_is_told(api, server, settings):
    settings(bind_password="wrong")
    with pytest.raises(Refused, match=r"127\.0\.0\.1 refuses: Invalid credentials"):
        api("listLdapUsers")


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tls", "port", "works"), [
    ("starttls", "port", True), ("ldaps", "tls_port", True), ("none", "port", True),
    ("starttls", "tls_port", False), ("ldaps", "port", False),
])  # fmt: skip
def test_ways_to_talk(api, slapd, settings, tls, port, works):
    settings(tls=tls, read_timeout=1000)
    api("addLdapConfiguration", hostname="127.0.0.1", port=getattr(slapd, port))
    if works:
        assert "jo" in names(api("listLdapUsers"))
    else:
        with pytest.raises(Refused, match="No LDAP server answers"):
            api("listLdapUsers")


@pytest.mark.parametrize(("tls", "port"), [("starttls", "port"), ("ldaps", "tls_port")])
def test_who_is_not_vouched_for_is_not_talked_to(api, slapd, settings, tls, port):
    settings(tls=tls)
    api("updateConfiguration", name="ldap.truststore")
    api("addLdapConfiguration", hostname="127.0.0.1", port=getattr(slapd, port))
    with pytest.raises(Refused) as refused:
        api("listLdapUsers")
    assert refused.value.code == 534


@pytest.mark.parametrize(("tls", "port"), [("starttls", "port"), ("ldaps", "tls_port")])
def test_a_certificate_is_for_its_name(api, slapd, settings, tls, port):
    settings(tls=tls)
    api("addLdapConfiguration", hostname="localhost", port=getattr(slapd, port))
    with pytest.raises(Refused) as refused:
        api("listLdapUsers")
    assert refused.value.code == 534


# --- people -----------------------------------------------------------------------------------------------------------


def test_people_are_listed_however_many_come_at_a_time(api, server, settings):
    """The server gives four at a time, and three are asked for."""
    found = api("listLdapUsers")
    assert names(found) == sorted([*EVERYBODY, "twin", "twin"])
    shown = next(user for user in found["LdapUser"] if user["username"] == "jo")
    assert shown == {
        "username": "jo", "firstname": "Jo", "lastname": "Joson", "email": "jo@example.org", "domain": "people",
        "principal": f"uid=jo,{PEOPLE}",
    }  # fmt: skip
    assert names(api("listLdapUsers", page=2, pagesize=3)) == names(found)[3:6]


def test_people_are_searched_for(api, server, settings):
    assert names(api("searchLdap", query="oson")) == ["jo"]
    assert names(api("listLdapUsers", keyword="zoe@example")) == ["zoe"]
    assert names(api("searchLdap", query="nobody")) == []


@pytest.mark.parametrize("query", ["*", "jo)(uid=*", "*)(|(uid=*", "\\2a", "x)(objectClass=*))(|(uid=*"])
def test_what_is_asked_for_is_no_filter(api, server, settings, query):
    assert names(api("searchLdap", query=query)) == (["star*"] if query == "*" else [])


def test_people_who_are_users_are_not_new(api, server, settings, jo):
    assert "jo" not in names(api("listLdapUsers", listtype="new"))
    assert "jo" in names(api("listLdapUsers"))


def test_somebody_becomes_a_user(api, jo):
    (user,) = api("listUsers", username="jo", listall=True)["user"]
    assert (user["usersource"], user["firstname"], user["email"]) == ("ldap", "Jo", "jo@example.org")
    assert (jo["name"], jo["accounttype"]) == ("jo", 0)
    assert api("listUsers", usersource="ldap", listall=True)["count"] == 1
    assert api("listUsers", usersource="native")["user"][0]["usersource"] == "native"
    with pytest.raises(Refused, match="has a user jo already"):
        api("ldapCreateAccount", username="jo", accounttype=0)


def test_somebody_becomes_a_user_of_an_account_that_is_there(api, server, jo):
    account = api("ldapCreateAccount", username="zoe", account="jo")["account"]
    assert account["id"] == jo["id"]
    assert [user["username"] for user in account["user"]] == ["jo", "zoe"]


@pytest.mark.parametrize("username", ["nobody", "*", "twin", "jo)(uid=*"])
def test_nobody_and_more_than_one_become_none(api, server, username):
    with pytest.raises(Refused, match="has no one enabled user"):
        api("ldapCreateAccount", username=username, accounttype=0)


def test_people_are_imported_once(api, factory, server):
    domain = factory.domain("a")
    given = {"accounttype": 0, "domainid": domain.id, "group": "operators"}
    assert names(api("importLdapUsers", **given)) == ["al", "jo"]
    assert api("importLdapUsers", **given) == {}
    assert names(api("importLdapUsers", domainid=domain.id, account="jo", keyword="zoe")) == ["zoe"]
    (account,) = api("listAccounts", domainid=domain.id, name="jo")["account"]
    assert [user["username"] for user in account["user"]] == ["jo", "zoe"]


# --- login ------------------------------------------------------------------------------------------------------------


def test_the_directory_lets_its_people_in(api, jo):
    status, body = log_in(api, "jo", "jo-password")
    assert (status, body["username"], body["account"]) == (200, "jo", "jo")
    assert enters(api, "admin", "admin-password")


@pytest.mark.parametrize("password", ["wrong", "", " ", "al-password", "jo-password\0", "kim-password"])
def test_wrong_passwords(api, jo, password):
    assert not enters(api, "jo", password)


def test_refusals_are_alike(api, server, jo):
    known, body = log_in(api, "jo", "wrong")
    unknown, other = log_in(api, "nobody", "wrong")
    assert (known, body["errortext"].replace("jo", "nobody")) == (unknown, other["errortext"])


def test_an_empty_password_is_refused_by_the_directory_too(slapd):
    """A server lets in whoever binds with a name and no password."""
    from manager import directory
    from manager.directory import Server, Terms

    terms = Terms(
        (Server("127.0.0.1", slapd.port),), BASE, "", "", "none", "", 5.0, 100, "inetOrgPerson", "uid", "mail",
        "givenname", "sn", "groupOfUniqueNames", "uniquemember", "",
    )  # fmt: skip
    assert directory.proven(terms, "jo", "jo-password").email == "jo@example.org"
    for empty in ("", "\0"):
        assert directory.proven(terms, "jo", empty) is None


@pytest.mark.parametrize("username", ["*", "j*", "jo)(uid=*", "*)(uid=*))(|(uid=*"])
def test_names_are_no_filters(api, jo, username):
    assert not enters(api, username, "jo-password")


@pytest.mark.parametrize("username", ["star*", "pa(r"])
def test_a_name_that_looks_like_a_filter_is_that_persons(api, server, username):
    api("ldapCreateAccount", username=username, accounttype=0)
    assert enters(api, username)
    assert not enters(api, username, "jo-password")


def test_a_user_of_the_cloud_is_none_of_the_directory(api, factory, server):
    factory.user("al")
    assert not enters(api, "al")
    assert enters(api, "al", "password")


def test_who_was_disabled_or_is_gone_stays_out(api, jo, factory):
    user = factory.first(User, username="jo")
    api("disableUser", id=user.id)
    assert not enters(api, "jo")
    api("enableUser", id=user.id)
    assert enters(api, "jo")
    factory.change(factory.first(Account, name="jo"), state="locked")
    assert not enters(api, "jo")


def test_a_directory_that_does_not_answer_lets_nobody_in(api, jo, server):
    api("deleteLdapConfiguration", id=server["id"])
    assert not enters(api, "jo")
    api("addLdapConfiguration", hostname="127.0.0.1", port=1)
    assert not enters(api, "jo")
    assert enters(api, "admin", "admin-password")


def test_the_password_is_changed_in_the_directory(api, engine, jo, factory):
    with pytest.raises(Refused, match="is kept by ldap, and is changed there"):
        api("updateUser", id=factory.first(User, username="jo").id, password="another-one")


def test_who_is_not_in_the_needed_group_stays_out(api, server, settings, jo):
    api("ldapCreateAccount", username="zoe", accounttype=0)
    assert enters(api, "zoe")
    settings(search_group_principle=OPERATORS)
    assert enters(api, "jo")
    assert not enters(api, "zoe")
    settings(search_group_principle=f"cn=none,{BASE}")
    assert not enters(api, "jo")


def test_a_domain_has_its_own_directory_and_that_above_it(api, factory, slapd, settings):
    above = factory.domain("a")
    below = factory.domain("b", above)
    api("addLdapConfiguration", hostname="127.0.0.1", port=1)
    api("addLdapConfiguration", hostname="127.0.0.1", port=slapd.port, domainid=above.id)
    api("updateConfiguration", name="ldap.user.object", value="account", domainid=above.id)
    with pytest.raises(Refused, match="no one enabled user"):
        api("ldapCreateAccount", username="jo", accounttype=0, domainid=below.id)
    api("updateConfiguration", name="ldap.user.object", value="inetOrgPerson", domainid=below.id)
    api("ldapCreateAccount", username="jo", accounttype=0, domainid=below.id)
    assert enters(api, "jo", domain="a/b")
    assert not enters(api, "jo")


def test_a_slow_directory_holds_nobody_up_for_long(api, jo, settings, server):
    """A port that takes connections and says nothing."""
    import socket

    api("deleteLdapConfiguration", id=server["id"])
    with socket.create_server(("127.0.0.1", 0)) as mute:
        api("addLdapConfiguration", hostname="127.0.0.1", port=mute.getsockname()[1])
        settings(read_timeout=300)
        started = time.monotonic()
        assert not enters(api, "jo")
        assert time.monotonic() - started < 3


# --- links ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(factory):
    return factory.domain("linked")


def link(api, place, **more):
    given = {"domainid": place.id, "type": "GROUP", "ldapdomain": OPERATORS, "accounttype": 0, **more}
    return api("linkDomainToLdap", **given)["LinkDomainToLdap"]


def test_the_members_of_a_group_enter_a_domain(api, factory, server, place):
    linked = link(api, place)
    assert linked == {"domainid": place.id, "ldapdomain": OPERATORS, "type": "GROUP", "accounttype": 0}
    assert not enters(api, "jo", "wrong", domain="linked")
    assert api("listAccounts", domainid=place.id) == {}
    for _ in range(2):
        status, body = log_in(api, "jo", "jo-password", domain="linked")
        assert (status, body["account"], body["type"]) == (200, "jo", "0")
    assert not enters(api, "zoe", domain="linked")
    assert not enters(api, "jo")
    (account,) = api("listAccounts", domainid=place.id)["account"]
    assert account["user"][0]["usersource"] == "ldap"
    link(api, place, ldapdomain=f"cn=others,{GROUPS}")
    assert not enters(api, "jo", domain="linked")
    assert enters(api, "kim", domain="linked")


def test_who_is_in_a_unit_enters_a_domain(api, server, place):
    link(api, place, type="OU", ldapdomain=f"OU=People, {BASE}", accounttype=2)
    assert log_in(api, "max", "max-password", domain="linked")[1]["type"] == "2"
    link(api, place, type="OU", ldapdomain=f"ou=inner,{PEOPLE}")
    assert not enters(api, "max", domain="linked")


def test_an_administrator_is_there_at_once(api, server, place):
    linked = link(api, place, admin="jo")
    (account,) = api("listAccounts", domainid=place.id)["account"]
    assert (linked["accountid"], account["accounttype"]) == (account["id"], 2)
    assert enters(api, "jo", domain="linked")
    with pytest.raises(Refused, match="has no one enabled user zoe"):
        link(api, place, admin="zoe")


def test_the_members_of_a_group_become_users_of_an_account(api, engine, factory, server, place):
    boss = Caller.of(engine, factory.user("boss", factory.account("boss", place, type=2)).username)
    for name in ("team", "rest"):
        factory.account(name, place)
    given = {"domainid": place.id, "account": "team", "ldapdomain": OPERATORS}
    linked = api("linkAccountToLdap", boss, **given)["linkAccountToLdap"]
    assert (linked["account"], linked["type"], linked["accounttype"]) == ("team", "GROUP", 0)
    assert log_in(api, "jo", "jo-password", domain="linked")[1]["account"] == "team"
    api("linkAccountToLdap", boss, **given | {"account": "rest", "ldapdomain": f"cn=others,{GROUPS}"})
    assert log_in(api, "kim", "kim-password", domain="linked")[1]["account"] == "rest"
    assert not enters(api, "al", domain="linked")  # of both groups
    assert enters(api, "jo", domain="linked")
    factory.change(factory.first(Account, name="rest"), state="disabled")
    assert not enters(api, "kim", domain="linked")
    with pytest.raises(Refused):
        api("linkAccountToLdap", boss, **given | {"account": "admin", "domainid": factory.root.id})


def test_a_disabled_account_gets_no_users(api, engine, factory, server, place):
    factory.change(factory.account("team", place), state="disabled")
    api("linkAccountToLdap", domainid=place.id, account="team", ldapdomain=OPERATORS)
    assert not enters(api, "jo", domain="linked")
    with db.transaction(engine) as session:
        assert session.scalar(select(User.id).where(User.username == "jo")) is None


def test_a_name_that_is_taken_is_not_given_away(api, factory, server, place):
    factory.user("jo", factory.account("jo", place))
    link(api, place)
    assert not enters(api, "jo", domain="linked")
    assert enters(api, "jo", "password", domain="linked")
    factory.account("al", place)
    assert log_in(api, "al", "al-password", domain="linked")[0] == 536


@pytest.mark.parametrize("more", [{"ldapdomain": ""}, {"ldapdomain": "operators"}, {"accounttype": 1}])
def test_what_is_no_link(api, server, place, more):
    with pytest.raises(Refused) as refused:
        link(api, place, **more)
    assert refused.value.code == 431


def test_links_and_servers_end_with_their_domain(api, engine, server, place, slapd):
    link(api, place)
    api("addLdapConfiguration", hostname="127.0.0.1", port=slapd.port, domainid=place.id)
    from manager.workflows.domain import remove_domains
    from manager.workflows.engine import Run

    with db.transaction(engine) as session:
        from manager.models import WorkflowRow

        row = WorkflowRow(name="domain.delete", subject_type="domains", subject_id=place.id)
        session.add(row)
        session.flush()
        remove_domains(Run(session, row))
    assert api("listLdapConfigurations")["count"] == 1
    with db.transaction(engine) as session:
        assert session.scalar(select(LdapLink.id)) is None
        assert session.get_one(Domain, place.id).removed is not None
