"""Details of virtual machines and templates."""

import pytest

from manager.models import Template, Vm
from tests.client import Caller, Refused


@pytest.fixture
def vm(factory, tenant):
    return factory(Vm, account_id=tenant.account.id, details={"a": "1"})


def test_details_come_and_go(api, tenant, vm, factory):
    given = {"resourcetype": "uservm", "resourceid": vm.id}
    api("addResourceDetail", tenant, params={"details[0].key": "b", "details[0].value": "2"}, **given)
    assert factory.first(Vm, id=vm.id).details == {"a": "1", "b": "2"}
    rows = api("listResourceDetails", tenant, **given)["resourcedetail"]
    assert [(row["key"], row["value"]) for row in rows] == [("a", "1"), ("b", "2")]
    assert {row["resourcetype"] for row in rows} == {"UserVm"}
    assert api("listResourceDetails", tenant, key="b", **given)["count"] == 1
    assert api("listResourceDetails", tenant, value="9", **given) == {}
    assert api("listResourceDetails", resourcetype="UserVm") == {}
    api("removeResourceDetail", tenant, key="a", **given)
    assert factory.first(Vm, id=vm.id).details == {"b": "2"}
    api("removeResourceDetail", tenant, **given)
    assert factory.first(Vm, id=vm.id).details == {}


def test_refusals(api, tenant, vm, factory):
    with pytest.raises(Refused, match=r"431 There are no details of Nic"):
        api("listResourceDetails", tenant, resourcetype="Nic")
    factory.user("stranger")
    stranger = Caller.of(factory.engine, "stranger")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter resourceid"):
        api("removeResourceDetail", stranger, resourcetype="UserVm", resourceid=vm.id)
    public = factory(Template, is_public=True)
    with pytest.raises(Refused, match=r"431 .*Invalid parameter resourceid"):
        api("addResourceDetail", tenant, resourcetype="Template", resourceid=public.id, params={"details[0].k": "v"})
