"""Projects: who owns, sees and touches what is in them."""

import pytest

from manager.api.command import COMMANDS
from manager.api.commands import load_all
from manager.api.fields import Ref
from manager.models import (
    Account,
    Network,
    Project,
    ProjectInvitation,
    ProjectMember,
    ProjectRole,
    ProjectRolePermission,
    ResourceUse,
    SshKeyPair,
)
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import costs
from tests.unit.api.test_access import plausible


class Team:
    """Users ann, ben and cid of one domain, and dan of another; ann's project web."""

    def __init__(self, api, engine, factory):
        self.api, self.factory = api, factory
        self.domain, self.other = factory.domain("team"), factory.domain("other")
        self.callers = {}
        for name in ("ann", "ben", "cid", "dan"):
            account = factory.account(name, self.other if name == "dan" else self.domain)
            factory.user(name, account)
            self.callers[name] = Caller.of(engine, name)
        factory.user("boss", factory.account("boss", self.domain, type=2))
        self.callers["boss"] = Caller.of(engine, "boss")
        self.id = self.make("ann", "web")

    def make(self, who, name, **given):
        return self.api("createProject", self.callers[who], name=name, **given)["id"]

    def __call__(self, command, who=None, **given):
        return self.api(command, self.callers[who] if who else None, **given)

    def project(self, who="ann"):
        (shown,) = self("listProjects", who, id=self.id)["project"]
        return shown

    def account(self, name):
        return self.callers[name].account

    def row(self):
        return self.factory.first(Project, id=self.id)

    def names(self, who, **given):
        return {pair["name"] for pair in self("listSSHKeyPairs", who, **given).get("sshkeypair", [])}


@pytest.fixture
def team(api, engine, factory):
    return Team(api, engine, factory)


def outcome(api, answer, who=None):
    """What a finished job left."""
    return api("queryAsyncJobResult", who, jobid=answer["jobid"])["jobresult"]


def test_a_project_shows_its_owner_its_account_and_its_limits(team):
    shown = team.project()
    assert (shown["name"], shown["displaytext"], shown["state"]) == ("web", "web", "Active")
    (owner,) = shown["owner"]
    assert owner == {"account": "ann", "accountid": team.account("ann").id}
    assert shown["projectaccountname"].startswith("PrjAcct-web-")
    assert (shown["vmlimit"], shown["vmtotal"], shown["vmavailable"]) == ("20", 0, "20")
    assert "projectlimit" not in shown
    assert team("listAccounts", listall=True, name=shown["projectaccountname"]) == {}
    assert outcome(team.api, team("updateProject", "ann", id=team.id, displaytext="x", method="POST"),
                   team.callers["ann"])["project"]["displaytext"] == "x"  # fmt: skip


def test_names_are_new_in_the_domain_whatever_their_case(team):
    with pytest.raises(Refused, match=r"431 .*has a project WEB already"):
        team.make("ben", "WEB")
    assert team.make("dan", "web")
    held = team.factory.first(ResourceUse, account_id=team.account("ben").id)
    assert held.projects == 0


def test_users_make_projects_only_where_the_setting_lets_them(team):
    team("updateConfiguration", name="allow.user.create.projects", value=False)
    with pytest.raises(Refused, match=r"531 .*allow\.user\.create\.projects is false"):
        team.make("ben", "mine")
    assert team.make("boss", "his", account="ben", domainid=team.domain.id)
    assert [p["name"] for p in team("listProjects", "ben")["project"]] == ["his"]


def test_who_sees_a_project(team):
    def seen(who, **given):
        return {p["name"] for p in team("listProjects", who, **given).get("project", [])}

    team.make("dan", "far")
    assert seen("ann") == {"web"}
    assert seen("ben") == set()
    assert seen("ben", listall=True) == set()
    assert seen("boss") == set()
    assert seen("boss", listall=True) == {"web"}
    assert seen(None) == set()
    assert seen(None, listall=True) == {"web", "far"}
    assert seen("boss", domainid=team.domain.id) == {"web"}
    assert seen(None, domainid=team.factory.root.id, isrecursive=True) == {"web", "far"}
    assert seen(None, listall=True, account="ann", domainid=team.domain.id) == {"web"}
    assert seen(None, listall=True, state="Suspended") == set()
    with pytest.raises(Refused, match=r"431 .*entity does not exist"):
        team("listProjects", "ben", id=team.id)
    team("createTags", "ann", resourcetype="Project", resourceids=team.id,
         params={"tags[0].key": "k", "tags[0].value": "v"}, method="POST")  # fmt: skip
    assert seen("ann") == {"web"}
    tagged = team.api("listProjects", team.callers["ann"], params={"tags[0].key": "k", "tags[0].value": "v"})
    assert [tag["key"] for tag in tagged["project"][0]["tags"]] == ["k"]


def test_what_is_made_in_a_project_belongs_to_it_and_opens_to_its_members(team):
    team("createSSHKeyPair", "ann", name="own")
    made = team("createSSHKeyPair", "ann", name="common", projectid=team.id)["keypair"]
    assert (made["projectid"], made["project"]) == (team.id, "web")
    assert "account" not in made
    assert team.names("ann") == {"own"} == team.names("ann", listall=True)
    assert team.names("ann", projectid=team.id) == {"common"} == team.names("ann", projectid=-1)
    with pytest.raises(Refused, match=r"431 .*projectid"):
        team.names("ben", projectid=team.id)
    assert team.names("ben", projectid=-1) == set()
    with pytest.raises(Refused, match=r"431 .*projectid"):
        team("createSSHKeyPair", "ben", name="x", projectid=team.id)
    with pytest.raises(Refused, match=r"431 Account and projectId can't be specified together"):
        team("createSSHKeyPair", "ann", name="x", projectid=team.id, account="ann", domainid=team.domain.id)
    team("addAccountToProject", "ann", projectid=team.id, account="ben")
    assert team.names("ben", projectid=team.id) == {"common"} == team.names("ben", projectid=-1)
    assert team.names("boss", listall=True) == {"own"}
    assert team.names("boss", projectid=-1) == {"common"}
    (pair,) = team("listSSHKeyPairs", "ben", id=made["id"])["sshkeypair"]
    assert pair["project"] == "web"
    assert team("deleteSSHKeyPair", "ben", name="common", projectid=team.id)["success"] is True


def test_taking_part_opens_nothing_of_the_projects_account_itself(team):
    account_id = team.row().account_id
    team("addAccountToProject", "ann", projectid=team.id, account="ben")
    for command in ("listAccounts", "enableAccount"):
        with pytest.raises(Refused, match=r"43[12]"):
            team(command, "ann", id=account_id)
    name = team.project()["projectaccountname"]
    with pytest.raises(Refused, match=r"531 There is no account"):
        team("createSSHKeyPair", "boss", name="x", account=name, domainid=team.domain.id)


def test_only_administrators_of_a_project_change_it(team):
    team("addAccountToProject", "ann", projectid=team.id, account="ben")
    for command, given in (
        ("updateProject", {"id": team.id, "name": "x"}),
        ("deleteProject", {"id": team.id}),
        ("suspendProject", {"id": team.id}),
        ("addAccountToProject", {"projectid": team.id, "account": "cid"}),
        ("createProjectRole", {"projectid": team.id, "name": "r"}),
    ):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            team(command, "ben", method="POST", **given)
    team("updateProject", "ann", id=team.id, account="ben", swapowner=False, roletype="Admin")
    team("updateProject", "ben", id=team.id, name="net")
    assert team.project()["name"] == "net"
    assert {owner["account"] for owner in team.project()["owner"]} == {"ann", "ben"}


def test_the_owner_is_swapped_with_the_count_of_its_projects(team):
    def counted(name):
        return team.factory.first(ResourceUse, account_id=team.account(name).id).projects

    with pytest.raises(Refused, match=r"431 .*takes no part"):
        team("updateProject", "ann", id=team.id, account="ben")
    team("addAccountToProject", "ann", projectid=team.id, account="ben")
    assert (counted("ann"), counted("ben")) == (1, 0)
    team("updateProject", "ann", id=team.id, account="ben")
    assert (counted("ann"), counted("ben")) == (0, 1)
    assert [owner["account"] for owner in team.project("ben")["owner"]] == ["ben"]
    with pytest.raises(Refused, match=r"431 .*entity does not exist"):
        team("updateProject", "ann", id=team.id, account="ann")
    with pytest.raises(Refused, match=r"431 .*owns the project"):
        team("deleteAccountFromProject", "ben", projectid=team.id, account="ben")
    team("updateResourceLimit", resourcetype=5, max=0, account="ann", domainid=team.domain.id)
    with pytest.raises(Refused, match=r"535 Account ann may hold 0 projects; it holds 0, asked for 1 more"):
        team("updateProject", "ben", id=team.id, account="ann")
    assert (counted("ann"), counted("ben")) == (0, 1)


def test_members_come_and_go(team):
    team("addAccountToProject", "ann", projectid=team.id, account="ben", roletype="Admin")
    team("addUserToProject", "ann", projectid=team.id, username="cid")
    rows = team("listProjectAccounts", "cid", projectid=team.id)["projectaccount"]
    assert [(row["account"], row["role"], row.get("username")) for row in rows] == [
        ("ann", "Admin", None), ("ben", "Admin", None), ("cid", "Regular", "cid"),
    ]  # fmt: skip
    assert [user["username"] for user in rows[0]["user"]] == ["ann"]
    assert "apikey" not in rows[0]["user"][0]
    assert team("listProjectAccounts", "ann", projectid=team.id, role="Regular")["count"] == 1
    assert team("listProjects", listall=True, username="cid")["count"] == 1
    for given, reason in (
        ({"account": "ben"}, "takes part in the project web already"),
        ({"account": "dan"}, "no account dan in the domain"),
    ):
        with pytest.raises(Refused, match=f"431 .*{reason}"):
            team("addAccountToProject", "ann", projectid=team.id, **given)
    team("deleteUserFromProject", "ann", projectid=team.id, userid=team.callers["cid"].user.id)
    team("deleteAccountFromProject", "ann", projectid=team.id, account="ben")
    assert team("listProjectAccounts", "ann", projectid=team.id)["count"] == 1
    with pytest.raises(Refused, match=r"431 .*projectid"):
        team("listProjectAccounts", "ben", projectid=team.id)
    with pytest.raises(Refused, match=r"431 .*takes no part"):
        team("deleteAccountFromProject", "ann", projectid=team.id, account="ben")


def test_what_is_said_of_a_user_goes_before_what_is_said_of_its_account(team, factory, engine):
    factory.user("bea", team.account("ben"))
    bea = Caller.of(engine, "bea")
    team("addAccountToProject", "ann", projectid=team.id, account="ben", roletype="Admin")
    team("addUserToProject", "ann", projectid=team.id, username="bea")
    team("updateProject", "ben", id=team.id, displaytext="by ben")
    with pytest.raises(Refused, match=r"431 .*entity does not exist"):
        team.api("updateProject", bea, id=team.id, displaytext="by bea")
    assert team.api("listProjects", bea)["count"] == 1


def test_a_project_role_says_what_a_regular_member_may_do(team):
    role = team("createProjectRole", "ann", projectid=team.id, name="reader")["projectrole"]["id"]
    team("addAccountToProject", "ann", projectid=team.id, account="ben", projectroleid=role)
    pair = team("createSSHKeyPair", "ann", name="common", projectid=team.id)["keypair"]["id"]
    assert team.names("ben", projectid=-1) == set()
    with pytest.raises(Refused, match=r"431 .*entity does not exist"):
        team("listSSHKeyPairs", "ben", id=pair)
    rule = {"projectid": team.id, "projectroleid": role}
    first = team("createProjectRolePermission", "ann", rule="LIST*", permission="allow", **rule)
    assert team.names("ben", projectid=team.id) == {"common"}
    with pytest.raises(Refused, match=r"431 .*projectid"):
        team("createSSHKeyPair", "ben", name="x", projectid=team.id)
    deny = team("createProjectRolePermission", "ann", rule="listSSHKeyPairs", permission="deny", **rule)
    assert team.names("ben", projectid=-1) == {"common"}, "the first rule that matches decides"
    ids = [answer["projectrolepermission"]["id"] for answer in (deny, first)]
    team("updateProjectRolePermission", "ann", ruleorder=",".join(ids), **rule)
    listed = team("listProjectRolePermissions", "ben", **rule)["projectrolepermission"]
    assert [row["id"] for row in listed] == ids
    assert team.names("ben", projectid=-1) == set()
    assert team.names("ann", projectid=-1) == {"common"}
    team("updateProjectRolePermission", "ann", projectrolepermissionid=ids[0], permission="allow", **rule)
    assert team.names("ben", projectid=-1) == {"common"}
    team("deleteProjectRolePermission", "ann", projectid=team.id, id=ids[1])
    with pytest.raises(Refused, match=r"431 .*is that of 1 members"):
        team("deleteProjectRole", "ann", projectid=team.id, id=role)
    team("updateProjectRole", "ann", projectid=team.id, id=role, name="looker", description="d")
    assert team("listProjectRoles", "ann", projectid=team.id)["projectrole"][0]["name"] == "looker"
    team("deleteAccountFromProject", "ann", projectid=team.id, account="ben")
    team("deleteProjectRole", "ann", projectid=team.id, id=role)
    assert team("listProjectRoles", "ann", projectid=team.id) == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"rule": "list_x", "permission": "allow"}, "not a command"),
        ({"rule": "list*", "permission": "perhaps"}, "none of allow, deny"),
    ],
)
def test_rules_are_commands_with_stars(team, given, reason):
    role = team("createProjectRole", "ann", projectid=team.id, name="r")["projectrole"]["id"]
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        team("createProjectRolePermission", "ann", projectid=team.id, projectroleid=role, **given)


def test_a_role_of_another_project_is_refused(team):
    other = team.make("ann", "second")
    role = team("createProjectRole", "ann", projectid=other, name="r")["projectrole"]["id"]
    with pytest.raises(Refused, match=r"431 .*is not one of the project web"):
        team("addAccountToProject", "ann", projectid=team.id, account="ben", projectroleid=role)
    with pytest.raises(Refused, match=r"431 .*is not one of the project web"):
        team("updateProjectRole", "ann", projectid=team.id, id=role, name="x")


def test_nothing_is_made_in_a_suspended_project(team, factory):
    factory.change(team.row(), state="Suspended")
    with pytest.raises(Refused, match=r"531 The project web is Suspended"):
        team("createSSHKeyPair", "ann", name="x", projectid=team.id)
    with pytest.raises(Refused, match=r"431 .*to suspend it must be Active"):
        team("suspendProject", "ann", id=team.id)
    team("activateProject", "ann", id=team.id)
    team("createSSHKeyPair", "ann", name="x", projectid=team.id)


def test_a_project_with_things_in_it_is_removed_only_with_cleanup(team, factory):
    factory(Network, account_id=team.row().account_id)
    with pytest.raises(Refused, match=r"431 The project web still has 1 networks; .*cleanup=true"):
        team("deleteProject", "ann", id=team.id)
    assert factory.first(ProjectMember, project_id=team.id)


def test_lists_of_projects_cost_the_same_however_many_there_are(team, engine):
    numbers = iter(range(1000))
    team("updateResourceLimit", resourcetype=5, max=-1, account="ann", domainid=team.domain.id)
    team("updateResourceLimit", resourcetype=5, max=-1, domainid=team.domain.id)
    found = costs(engine, lambda: team.make("ann", f"p{next(numbers)}"), lambda: team("listProjects", "ann"))
    assert len(set(found.values())) == 1, found


def test_the_things_of_an_account_named_like_a_project_are_not_shown(team, factory):
    """-1 stands for projects only: an account's own things are no project's."""
    factory(SshKeyPair, name="foreign", account_id=factory.first(Account, name="dan").id)
    assert team.names(None, projectid=-1) == set()


def test_no_identifier_of_a_project_opens_any_command_to_who_takes_no_part(team, factory):
    """Every parameter of every command that names a project, or a part of one, given by an outsider."""
    load_all()
    role = team("createProjectRole", "ann", projectid=team.id, name="r")["projectrole"]["id"]
    given = {"projectid": team.id, "projectroleid": role}
    rule = team("createProjectRolePermission", "ann", rule="list*", permission="allow", **given)
    foreign = {Project: team.id, ProjectRole: role, ProjectRolePermission: rule["projectrolepermission"]["id"]}
    mine = {Project: team.make("dan", "mine")}
    tried = 0
    for name, command in COMMANDS.items():
        if "User" not in command.roles or command.is_open:
            continue
        for parameter, field in command.parameters.items():
            if not isinstance(field, Ref) or field.model not in foreign:
                continue
            others = {}
            for n, f in command.parameters.items():
                if f.required and n != parameter:
                    own = mine.get(f.model) if isinstance(f, Ref) else None
                    others |= {n: own} if own else plausible(n, f, factory)
            with pytest.raises(Refused) as refused:
                team.api(name, team.callers["dan"], method="POST", params={**others, parameter: foreign[field.model]})
            assert "entity does not exist" in refused.value.text, (name, parameter, refused.value.text)
            tried += 1
    assert tried > 40


class TestInvitations:
    @pytest.fixture(autouse=True)
    def required(self, team):
        team("updateConfiguration", name="project.invite.required", value=True)

    def test_who_is_invited_takes_part_once_it_accepts(self, team):
        team("addAccountToProject", "ann", projectid=team.id, account="ben", roletype="Admin")
        assert team("listProjects", "ben") == {}
        (shown,) = team("listProjectInvitations", "ben")["projectinvitation"]
        assert (shown["project"], shown["account"], shown["state"]) == ("web", "ben", "Pending")
        assert team("listProjectInvitations", "ann", projectid=team.id)["count"] == 1
        assert team("listProjectInvitations", "cid", listall=True) == {}
        with pytest.raises(Refused, match=r"431 .*invited to the project web already"):
            team("addAccountToProject", "ann", projectid=team.id, account="ben")
        with pytest.raises(Refused, match=r"431 .*projectid"):
            team("updateProjectInvitation", "cid", projectid=team.id)
        team("updateProjectInvitation", "ben", projectid=team.id)
        owners = team("listProjects", "ben")["project"][0]["owner"]
        assert {owner["account"] for owner in owners} == {"ann", "ben"}
        with pytest.raises(Refused, match=r"431 .*answered already"):
            team("updateProjectInvitation", "ben", projectid=team.id)
        assert team("listProjectInvitations", "ben", activeonly=True) == {}

    def test_declined_expired_and_taken_back(self, team):
        team("addUserToProject", "ann", projectid=team.id, username="ben")
        team("updateProjectInvitation", "ben", projectid=team.id, accept=False)
        assert team("listProjectInvitations", "ben", state="Declined")["count"] == 1
        team("updateConfiguration", name="project.invite.timeout", value=1)
        team("addUserToProject", "ann", projectid=team.id, username="ben")
        row = team.factory.first(ProjectInvitation, project_id=team.id)
        team.factory.change(row, expires=row.created.replace(year=2020))
        with pytest.raises(Refused, match=r"431 .*or has expired"):
            team("updateProjectInvitation", "ben", projectid=team.id)
        (shown,) = team("listProjectInvitations", "ben")["projectinvitation"]
        assert shown["state"] == "Expired"
        with pytest.raises(Refused, match=r"431"):
            team("deleteProjectInvitation", "ben", id=shown["id"])
        team("deleteProjectInvitation", "ann", id=shown["id"])
        assert team("listProjectInvitations", "ben") == {}
