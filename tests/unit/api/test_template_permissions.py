"""Sharing of templates with single accounts."""

import pytest

from manager.models import Account, Project, ProjectMember, Template
from tests.client import Caller, Refused


@pytest.fixture
def template(factory, tenant):
    return factory(Template, account_id=tenant.account.id, state="Ready", name="mine")


@pytest.fixture
def friend(factory):
    return Caller.of(factory.engine, factory.user("friend").username)


def listed(api, caller, which):
    return [row["name"] for row in api("listTemplates", caller, templatefilter=which).get("template", [])]


def test_a_shared_template_is_used_and_not_managed(api, tenant, friend, template):
    assert listed(api, friend, "executable") == []
    api("updateTemplatePermissions", tenant, id=template.id, op="add", accounts="friend")
    api("updateTemplatePermissions", tenant, id=template.id, op="add", accounts="friend")
    assert listed(api, friend, "sharedexecutable") == listed(api, friend, "executable") == ["mine"]
    assert listed(api, friend, "self") == listed(api, tenant, "sharedexecutable") == []
    assert api("listTemplates", friend, templatefilter="self", id=template.id)["count"] == 1
    shown = api("listTemplatePermissions", tenant, id=template.id)["templatepermission"]
    assert (shown["id"], shown["ispublic"], shown["account"]) == (template.id, False, ["friend"])
    for command in ("updateTemplate", "listTemplatePermissions", "updateTemplatePermissions"):
        with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
            api(command, friend, id=template.id)
    api("updateTemplatePermissions", tenant, id=template.id, op="remove", accounts="friend")
    assert listed(api, friend, "executable") == []
    assert api("listTemplatePermissions", tenant, id=template.id)["templatepermission"]["account"] == []


def test_reset_takes_all_back(api, tenant, friend, template, factory):
    api("updateTemplatePermissions", tenant, id=template.id, op="add", accounts="friend,admin", ispublic=True)
    assert listed(api, friend, "community") == ["mine"]
    api("updateTemplatePermissions", tenant, id=template.id, op="reset")
    assert factory.first(Template, id=template.id).is_public is False
    assert listed(api, friend, "executable") == []


def test_refusals(api, tenant, template, factory):
    elsewhere = factory.account("elsewhere", factory.domain("sub"))
    assert factory.first(Account, id=elsewhere.id).name == "elsewhere"
    with pytest.raises(Refused, match=r"431 The domain of the template mine has no account elsewhere"):
        api("updateTemplatePermissions", tenant, id=template.id, op="add", accounts="elsewhere")
    with pytest.raises(Refused, match=r"431 The parameters accounts and projectids go with op"):
        api("updateTemplatePermissions", tenant, id=template.id, accounts="admin")
    with pytest.raises(Refused, match=r"431 The parameters accounts and projectids go with op"):
        api("updateTemplatePermissions", tenant, id=template.id, op="add")


def test_a_template_is_shared_with_a_project(api, tenant, friend, template, factory):
    project = factory(Project, name="shop")
    factory(ProjectMember, project_id=project.id, account_id=tenant.account.id)
    factory(ProjectMember, project_id=project.id, account_id=friend.account.id)
    api("updateTemplatePermissions", tenant, id=template.id, op="add", projectids=project.id, accounts="admin")
    shown = api("listTemplatePermissions", tenant, id=template.id)["templatepermission"]
    assert (shown["account"], shown["projectids"]) == (["admin"], [project.id])
    assert api("listTemplates", friend, templatefilter="self", id=template.id)["count"] == 1
    api("updateTemplatePermissions", tenant, id=template.id, op="remove", projectids=project.id)
    assert listed(api, friend, "executable") == []
    strange = factory(Project, name="strange")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter projectids"):
        api("updateTemplatePermissions", tenant, id=template.id, op="add", projectids=strange.id)
