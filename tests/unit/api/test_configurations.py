"""Settings: their declarations, scopes and groups."""

import subprocess
import sys
from pathlib import Path

import pytest

from manager import configuration, db
from manager.configuration import GROUPS, SETTINGS
from manager.models import Account, Cluster, Domain, StoragePool, Zone
from tests.client import Caller, Refused

EXPUNGE = "allow.user.expunge.recover.vm"
ROOT = Path(__file__).parents[3]


def value(engine, name, place=None):
    with db.transaction(engine) as session:
        return configuration.value(session, name, place)


def test_a_value_is_the_accounts_else_its_domains_else_that_of_one_above_else_the_global(api, engine, factory):
    top = factory.domain("top")
    low = factory.domain("low", top)
    account = factory.account("ann", low)
    seen = []
    for given in ({"value": True}, {"value": False, "domainid": top.id}, {"value": True, "domainid": low.id},
                  {"value": False, "accountid": account.id}):  # fmt: skip
        api("updateConfiguration", name=EXPUNGE, **given)
        seen.append((value(engine, EXPUNGE, account), value(engine, EXPUNGE, low), value(engine, EXPUNGE)))
    assert seen == [(True, True, True), (False, False, True), (True, True, True), (False, True, True)]
    shown = api("resetConfiguration", name=EXPUNGE, accountid=account.id)["configuration"]
    assert shown["value"] == "true"
    assert value(engine, EXPUNGE, account) is True
    (row,) = api("listConfigurations", domainid=top.id, name=EXPUNGE)["configuration"]
    assert (row["value"], row["defaultvalue"], row["scope"]) == ("false", "false", "Domain,Account")
    api("resetConfiguration", name=EXPUNGE)
    assert value(engine, EXPUNGE) is False


def test_a_setting_decides_for_the_caller_whose_account_has_it(api, engine, factory):
    factory.user("ann")
    ann = Caller.of(engine, "ann")
    from manager.models import Vm

    vm = factory(Vm, account_id=ann.account.id, state="Destroyed")
    with pytest.raises(Refused, match=r"531 .*allow\.user\.expunge"):
        api("recoverVirtualMachine", ann, id=vm.id)
    api("updateConfiguration", name=EXPUNGE, value=True, accountid=ann.account.id)
    with pytest.raises(Refused, match=r"431 The volumes"):
        api("recoverVirtualMachine", ann, id=vm.id)


def test_a_clusters_and_a_pools_factor_are_kept_in_their_rows(api, factory):
    cluster, pool = factory(Cluster), factory(StoragePool)
    api("updateConfiguration", name="cpu.overprovisioning.factor", value=3, clusterid=cluster.id)
    api("updateConfiguration", name="storage.overprovisioning.factor", value=1.5, storageid=pool.id)
    assert factory.first(Cluster, id=cluster.id).cpu_overcommit == 3.0
    assert factory.first(StoragePool, id=pool.id).overprovision == 1.5
    shown = {row["name"]: row["value"] for row in api("listConfigurations", clusterid=cluster.id)["configuration"]}
    assert shown == {"cpu.overprovisioning.factor": "3.0", "mem.overprovisioning.factor": "1.0"}
    api("resetConfiguration", name="cpu.overprovisioning.factor", clusterid=cluster.id)
    assert factory.first(Cluster, id=cluster.id).cpu_overcommit == 1.0


def test_a_zones_suffix_is_that_of_networks_made_there(api, engine, factory):
    zone = factory(Zone)
    api("updateConfiguration", name="guest.domain.suffix", value="zone.example", zoneid=zone.id)
    assert value(engine, "guest.domain.suffix", zone) == "zone.example"
    assert value(engine, "guest.domain.suffix", factory(Zone)) == "cs.cloud.internal"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"name": "no.such"}, "There is no setting no.such"),
        ({"name": "expunge.delay", "value": "soon"}, "is a whole number, not soon"),
        ({"name": "vm.password.length", "value": 7}, "lies within 8 and 64; 7 does not"),
        ({"name": EXPUNGE, "value": "yes"}, "is true or false, not yes"),
        ({"name": "guest.domain.suffix", "value": "a b"}, "must look like cs.cloud.internal"),
        ({"name": "expunge.delay", "value": 1, "zoneid": Zone}, "cannot be set for a Zone; its scope is Global"),
        ({"name": EXPUNGE, "value": True, "zoneid": Zone, "accountid": Account}, "zoneid and accountid name 2"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(api, factory, given, reason):
    made = {Zone: lambda: factory(Zone).id, Account: lambda: factory.account("x").id}
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        api("updateConfiguration", **{key: made[v]() if v in made else v for key, v in given.items()})


def test_lists_by_group_category_and_keyword(api):
    groups = api("listConfigurationGroups")["configurationgroup"]
    assert [row["name"] for row in groups] == list(GROUPS)
    assert [row["precedence"] for row in groups] == sorted(row["precedence"] for row in groups)
    (access,) = api("listConfigurationGroups", group="access")["configurationgroup"]
    assert {"name": "Projects", "precedence": 3} in access["subgroup"]
    found = api("listConfigurations", group="Access", subgroup="projects", keyword="invite")["configuration"]
    assert [row["name"] for row in found] == ["project.invite.required", "project.invite.timeout"]
    assert all(row["group"] == "Access" for row in found)
    assert api("listConfigurations", category="Domain Defaults", pagesize=3, page=1)["count"] == 17


def test_every_setting_stands_in_a_group_and_is_read_by_something():
    sources = [path.read_text() for path in (ROOT / "manager").rglob("*.py") if not path.name.startswith("setting")]
    resources = (ROOT / "manager/models/resources.py").read_text()
    for setting in SETTINGS.values():
        group, part = setting.group
        assert part in GROUPS[group][2], setting.name
        if setting.name.startswith("max."):
            assert setting.name.split(".", 2)[2] in resources
        else:
            names = {setting.name, setting.name.removesuffix(".capacity.notificationthreshold")}
            quoted = [quote + name + quote for name in names for quote in "\"'"]
            assert any(name in text for text in sources for name in quoted), setting.name


def test_another_process_sees_a_change_within_seconds(api, engine, monkeypatch):
    monkeypatch.setattr(configuration, "CACHE_SECONDS", 0.2)
    configuration.forget()
    url = engine.url.render_as_string(hide_password=False)
    program = (
        "import sys, time\nfrom manager import configuration, db\n"
        f"configuration.CACHE_SECONDS = 0.2\nengine = db.engine_for({url!r})\n"
        "def look():\n    with db.transaction(engine) as session:\n"
        "        return configuration.value(session, 'expunge.delay')\n"
        "print(look(), flush=True)\nsys.stdin.readline()\ntime.sleep(0.3)\nprint(look(), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as other:
        assert other.stdout.readline() == "86400\n"
        api("updateConfiguration", name="expunge.delay", value=5)
        other.stdin.write("go\n")
        other.stdin.flush()
        assert other.stdout.readline() == "5\n"


def test_domains_are_no_place_for_what_only_zones_have(api, factory):
    with pytest.raises(Refused, match=r"431 .*cannot be set for a Domain; its scope is Zone"):
        api("updateConfiguration", name="guest.domain.suffix", value="a", domainid=factory.first(Domain, path="/").id)
