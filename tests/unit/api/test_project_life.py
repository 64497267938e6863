"""Projects with virtual machines in them, through the API, with messages carried by hand."""

import pytest

from manager import db
from manager.models import (
    Account,
    DomainUse,
    Network,
    NetworkOffering,
    Project,
    ResourceUse,
    Router,
    Template,
    Vm,
    WorkflowRow,
)
from manager.recount import drift, orphans
from manager.workflows.engine import WORKFLOWS, advance
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import live_cloud


class Site:
    def __init__(self, api, factory, directory):
        self.api, self.factory = api, factory
        self.cloud, self.user = live_cloud(factory, directory)
        self.domain = factory.domain("team")
        factory.change(self.user.account, domain_id=self.domain.id, live=f"{self.domain.id}/live")
        self.user = Caller.of(factory.engine, "live")
        self("updateResourceCount", None, domainid=self.domain.id)
        self.id = self("createProject", name="web")["id"]
        self.account_id = factory.first(Project, id=self.id).account_id

    def __call__(self, command, who="user", **given):
        return self.api(command, self.user if who else None, **given)

    def run(self, command, who="user", **given):
        """The job of the command once all is settled."""
        answer = self(command, who, **given)
        self.cloud.settle()
        return self("queryAsyncJobResult", who, jobid=answer["jobid"])

    def network(self):
        offering = self.factory.first(NetworkOffering, availability="Required")
        return self("createNetwork", name="inner", zoneid=self.cloud.zone_id, networkofferingid=offering.id,
                    projectid=self.id)["network"]  # fmt: skip

    def deploy(self, name="web1"):
        return self.run(
            "deployVirtualMachine", zoneid=self.cloud.zone_id, serviceofferingid=self.cloud.offering_id,
            templateid=self.cloud.template_id, name=name, projectid=self.id,
        )  # fmt: skip

    def wrong(self):
        with db.transaction(self.factory.engine) as session:
            return [finding.detail for finding in (*drift(session), *orphans(session))]


@pytest.fixture
def site(api, factory, tmp_path):
    return Site(api, factory, tmp_path)


def test_a_virtual_machine_in_a_project_is_the_projects_and_counts_there(site):
    network = site.network()
    assert (network["projectid"], network["project"]) == (site.id, "web")
    shown = site.deploy()["jobresult"]["virtualmachine"]
    assert (shown["projectid"], shown["project"], shown["state"]) == (site.id, "web", "Running")
    assert "account" not in shown
    assert site("listVirtualMachines") == {} == site("listVirtualMachines", listall=True)
    for command, key in (("listVirtualMachines", "virtualmachine"), ("listVolumes", "volume"),
                         ("listNetworks", "network"), ("listPublicIpAddresses", "publicipaddress")):  # fmt: skip
        (row,) = site(command, projectid=site.id)[key]
        assert (row["project"], "account" in row) == ("web", False), command
    (project,) = site("listProjects")["project"]
    totals = {name: project[f"{name}total"] for name in ("vm", "cpu", "volume", "network", "ip")}
    assert totals == {"vm": 1, "cpu": 1, "volume": 1, "network": 1, "ip": 1}
    assert project["vmrunning"] == 1
    assert site.factory.first(DomainUse, domain_id=site.domain.id).public_addresses == 1
    assert site.wrong() == []


def test_a_public_address_too_many_fails_the_deployment_with_the_limit(site):
    site.network()
    site("updateResourceLimit", None, resourcetype=1, max=0, projectid=site.id)
    job = site.deploy()
    assert (job["jobstatus"], job["jobresultcode"]) == (2, 535)
    assert "Project web may hold 0 public addresses; it holds 0, asked for 1 more" in job["jobresult"]["errortext"]
    assert site.factory.first(ResourceUse, account_id=site.account_id).public_addresses == 0
    assert site.wrong() == []


def test_a_suspended_project_runs_nothing_until_it_is_activated(site):
    site.network()
    vm = site.deploy()["jobresult"]["virtualmachine"]
    assert site.run("suspendProject", id=site.id)["jobresult"]["project"]["state"] == "Suspended"
    assert site.cloud.domains() == {}
    with pytest.raises(Refused, match=r"531 The project web is Suspended"):
        site("startVirtualMachine", id=vm["id"])
    with pytest.raises(Refused, match=r"531 The project web is Suspended"):
        site.network()
    site.run("activateProject", id=site.id)
    assert site.run("startVirtualMachine", id=vm["id"])["jobresult"]["virtualmachine"]["state"] == "Running"


def test_a_project_goes_with_all_that_is_in_it(site):
    network = site.network()
    for name in ("one", "two"):
        site.deploy(name)
    site("createSSHKeyPair", name="common", projectid=site.id)
    site.run("stopVirtualMachine", id=site("listVirtualMachines", projectid=site.id)["virtualmachine"][0]["id"])
    with pytest.raises(Refused, match=r"431 The project web still has 2 vms, 1 networks"):
        site("deleteProject", id=site.id)
    assert site.run("deleteProject", id=site.id, cleanup=True)["jobresult"] == {"success": True}
    assert site.cloud.domains() == {}
    assert site.cloud.get(Network, network["id"]).removed is not None
    assert site.cloud.get(Account, site.account_id).removed is not None
    assert site("listProjects") == {} == site("listProjects", None, id=site.id)
    assert site.factory.first(ResourceUse, account_id=site.user.account.id).projects == 0
    for model, key in ((ResourceUse, {"account_id": site.account_id}), (DomainUse, {"domain_id": site.domain.id})):
        use = site.factory.first(model, **key)
        own = model is ResourceUse
        assert (use.vms, use.cpus, use.memory, use.public_addresses, use.projects) == (0, 0, 0, 0, 0)
        assert (use.volumes, use.networks) == ((0, 0) if own else (0, 1))
    assert site.wrong() == []


def test_each_visit_of_the_removal_may_come_twice(site):
    site.network()
    site.deploy()
    site("deleteProject", id=site.id, cleanup=True)
    site.cloud.settle(times=2)
    assert site.cloud.domains() == {}
    assert site.factory.first(ResourceUse, account_id=site.account_id).vms == 0
    assert site.wrong() == []


def test_what_cannot_be_removed_fails_the_job_and_leaves_the_project_closed(site, monkeypatch):
    from dataclasses import replace

    from manager.workflows.engine import Step, StepFailed

    def refuse(run):
        raise StepFailed("planted")

    network = site.network()
    broken = replace(WORKFLOWS["network.delete"], steps=(Step(refuse),))
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "network.delete", broken)
        job = site.run("deleteProject", id=site.id, cleanup=True)
        assert job["jobstatus"] == 2
        assert job["jobresult"]["errortext"] == f"The network inner ({network['id']}) could not be ended: planted"
    (shown,) = site("listProjects", id=site.id)["project"]
    assert shown["state"] == "Disabled"
    site.run("deleteProject", id=site.id, cleanup=True)
    assert site("listProjects") == {}


def test_the_last_step_changes_nothing_when_it_runs_again(site):
    site.run("deleteProject", id=site.id)
    row = site.cloud.workflow(site.id, "project.delete")
    with db.transaction(site.factory.engine) as session:
        session.get_one(WorkflowRow, row.id).position = len(WORKFLOWS[row.name].steps) - 1
        session.get_one(WorkflowRow, row.id).status = "running"
    advance(row.id)
    assert site.factory.first(ResourceUse, account_id=site.user.account.id).projects == 0
    assert site.cloud.get(WorkflowRow, row.id).status == "done"


def test_nothing_of_a_project_is_a_router_of_its_user(site):
    site.network()
    site.deploy()
    assert site.factory.first(Router, account_id=site.account_id)
    assert site.factory.first(Vm, account_id=site.account_id)
    assert site("listRouters", None, listall=True) == {}
    assert site("listRouters", None, projectid=site.id)["count"] == 1


def test_an_image_larger_than_the_storage_left_fails_and_leaves_no_count(site):
    def register(name):
        made = site("registerTemplate", name=name, displaytext=name, format="QCOW2", hypervisor="Simulator",
                    url="http://images.example/tiny.qcow2", ostypeid=site.cloud.os_type_id, zoneid=site.cloud.zone_id,
                    projectid=site.id)["template"][0]  # fmt: skip
        site.cloud.settle()
        return site.cloud.get(Template, made["id"])

    def used():
        use = site.factory.first(ResourceUse, account_id=site.account_id)
        return use.templates, use.secondary_storage

    first = register("first")
    assert (first.state, used()) == ("Ready", (1, first.physical_size))
    site("updateResourceLimit", None, resourcetype=11, max=0, projectid=site.id)
    second = register("second")
    assert second.state == "Failed"
    assert "Project web may hold 0 GiB of secondary storage; it holds" in second.status
    assert used() == (2, first.physical_size)
    for template in (first, second):
        site.run("deleteTemplate", id=template.id)
    assert used() == (0, 0)
    assert site.wrong() == []


def test_the_password_is_told_to_the_member_that_deployed_and_to_no_administrator(site, factory):
    factory.change(factory.first(Template, id=site.cloud.template_id), password_enabled=True)
    site.network()
    answer = site(
        "deployVirtualMachine", zoneid=site.cloud.zone_id, serviceofferingid=site.cloud.offering_id,
        templateid=site.cloud.template_id, name="secret", projectid=site.id,
    )  # fmt: skip
    site.cloud.settle()
    told = site("queryAsyncJobResult", jobid=answer["jobid"])["jobresult"]["virtualmachine"]
    assert len(told["password"]) == 12
    shown = site("queryAsyncJobResult", None, jobid=answer["jobid"])["jobresult"]["virtualmachine"]
    assert "password" not in shown
