"""What may come next, in the shell and in bash."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from manager.models import NetscalerLoadBalancer, SrxFirewall
from tests.unit.api import site
from ui.shell import lookup, scripts
from ui.shell.answer import answer
from ui.shell.catalog import Catalog
from ui.shell.client import Client
from ui.shell.completion import Completer, nothing
from ui.shell.profiles import Config
from ui.shell.values import TIME_LIMIT, Values

ROOT = Path(__file__).parents[3]
ZONES = [{"id": f"{n:08d}-0000-4000-8000-000000000000", "name": name} for n, name in enumerate(("one", "two", "two"))]


@pytest.fixture
def catalog(foreign):
    config = Config()
    found = Catalog.open(config.cache, config.chosen())
    with Client(config.chosen()) as client:
        found.sync(client)
    return found


@pytest.fixture
def texts(catalog):
    values = Values(lambda: Client(Config().chosen(), TIME_LIMIT), lambda: catalog)
    completer = Completer(catalog, values, ["prod", "test"], ["job-1"])
    return lambda line: [one.text for one in completer.complete(line)[0]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("de", ["deploy", "destroy"]),
        ("listV", ["listVMSnapshot", "listVirtualMachines", "listVirtualMachinesMetrics", "listVnfAppliances"]),
        ("list zo", ["zones"]),
        ("list machinesm", ["virtualmachinesmetrics"]),
        ("help de", ["deploy", "destroy"]),
        ("help deploy ", ["virtualmachine"]),
        ("watch 2 list zo", ["zones"]),
        ("api listZ", ["listZones"]),
        ("sync sto", ["storagepool"]),
        ("list zones a", ["available="]),
        ("list zones available=", ["available=true", "available=false"]),
        ("listZones available=f", ["available=false"]),
        ("list vms state=r", ["state=Running"]),
        ("list templates templatefilter=self", ["templatefilter=self", "templatefilter=selfexecutable"]),
        ("list zones filter=id,na", ["filter=id,name"]),
        ("list zones -c na", ["name"]),
        ("list zones where al", ["allocationstate="]),
        ("list zones -o js", ["json", "jsonl"]),
        ("list zones -p t", ["test"]),
        ("list zones --q", ["--query"]),
        ("set co", ["complete=", "color="]),
        ("set output=x", ["output=xml"]),
        ("profile p", ["prod"]),
        ("wait ", ["job-1"]),
        ("completion z", ["zsh"]),
        ("list zones | gre", []),
        ("list zones name='a b' a", ["available="]),
        ("create nothing x", []),
    ],
)
def test_what_comes_next(texts, line, expected):
    assert texts(line) == expected


def test_needed_parameters_come_first_and_given_ones_no_more(texts):
    found = texts("deploy virtualmachine zoneid=1 ")
    assert found[0] == "serviceofferingid="
    assert "zoneid=" not in found
    assert "userdata=" in found


def test_values_are_names_where_these_are_of_one_only(texts, foreign):
    foreign.replies["listZones"] = {"count": 3, "zone": ZONES}
    assert texts("deploy virtualmachine zoneid=") == [
        f"zoneid={ZONES[1]['id']}",
        f"zoneid={ZONES[2]['id']}",
        "zoneid=one",
    ]
    assert texts("deploy virtualmachine zone=on") == ["zone=one"]
    assert texts("deploy virtualmachine zoneid=00000001") == [f"zoneid={ZONES[1]['id']}"]
    foreign.replies["listNetworks"] = {"count": 1, "network": [{"id": "1", "name": "my net"}]}
    assert texts("deploy virtualmachine networkids=a,m") == ["networkids=a,'my net'"]


@pytest.mark.usefixtures("as_admin")
@pytest.mark.parametrize(
    ("model", "line"),
    [
        (SrxFirewall, "list srxfirewalls fwdeviceid="),
        (NetscalerLoadBalancer, "list netscalerloadbalancers lbdeviceid="),
    ],
)
def test_hardware_devices_are_completed_though_their_ids_have_other_names(pileus, factory, model, line):
    device = factory(model, name="edge")
    config = Config()
    with Client(config.chosen()) as client:
        catalog = Catalog.open(config.cache, config.chosen())
        catalog.sync(client)
    values = Values(lambda: Client(config.chosen(), TIME_LIMIT), lambda: catalog)
    completer, key = Completer(catalog, values, [], []), line.rpartition(" ")[2]
    assert [one.text for one in completer.complete(f"{line}ed")[0]] == [f"{key}edge"]
    assert [one.text for one in completer.complete(f"{line}{device.id[:8]}")[0]] == [f"{key}{device.id}"]
    done = pileus(*line.rpartition(" ")[0].split(), f"{key}edge")
    assert (done.code, device.id in done.out) == (0, True)


def test_rows_are_asked_for_once_and_by_page(texts, foreign):
    foreign.replies["listZones"] = {"count": 3, "zone": ZONES}
    for line in ("deploy vm zoneid=", "deploy vm zoneid=o", "deploy vm zoneid=on"):
        texts(line)
    assert foreign.sent("listZones") == [{"page": "1", "pagesize": "50"}]


def test_a_long_list_is_narrowed_by_the_server(texts, foreign):
    def networks(given):
        names = [f"net{number}" for number in range(200) if given.get("keyword", "") in f"net{number}"]
        return {"count": len(names), "network": [{"id": name, "name": name} for name in names[:50]]}

    foreign.replies["listNetworks"] = networks
    assert len(texts("update network id=")) == 50
    assert texts("update network id=net199") == ["id=net199"]


def test_a_slow_server_gives_no_values_and_takes_two_seconds(texts, foreign):
    foreign.replies["listZones"] = lambda _: time.sleep(4) or {}
    started = time.monotonic()
    assert texts("deploy virtualmachine zoneid=") == []
    assert time.monotonic() - started < 3.5


@pytest.mark.parametrize(
    ("command", "parameter", "source"),
    [
        ("startVirtualMachine", "id", "listVirtualMachines"),
        ("startVirtualMachine", "hostid", "listHosts"),
        ("deployVirtualMachine", "templateid", "listTemplates"),
        ("deployVirtualMachine", "networkids", "listNetworks"),
        ("destroyVirtualMachine", "id", "listVirtualMachines"),
        ("disassociateIpAddress", "id", "listPublicIpAddresses"),
        ("syncStoragePool", "id", "listStoragePools"),
        ("resetPasswordForVirtualMachine", "id", "listVirtualMachines"),
    ],
)
def test_where_identifiers_come_from(catalog, command, parameter, source):
    api = catalog[command]
    assert lookup.source(catalog, api, api.params[parameter]) == source


def test_every_identifier_of_pileus_has_a_list(as_admin, pileus):
    pileus("list", "zones")
    config = Config()
    catalog = Catalog.open(config.cache, config.chosen())
    without = {
        f"{api.name}.{param.name}"
        for api in (catalog[name] for name in catalog)
        for param in api.params.values()
        if param.type == "uuid" and not lookup.source(catalog, api, param)
    }
    # These may be of several kinds, and the call does not tell of which; further addresses are listed with their NICs;
    # keys are listed by the command that asks for them.
    details = {f"{verb}.resourceid" for verb in ("addResourceDetail", "removeResourceDetail", "listResourceDetails")}
    several = {"listTags.resourceid", "listEvents.startid", "listEvents.resourceid", "listAnnotations.entityid"}
    assert without == {*details, *several, "removeIpFromNic.id", "listUserKeys.keypairid"}


@pytest.fixture
def bash(as_admin, pileus, api, tmp_path):
    """A line completed by bash itself, by the script that we print."""
    for name in ("alpha", "beta"):
        site.zone(api, name)
    pileus("list", "zones")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/pileus"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m ui.shell "$@"\n')
    program.chmod(0o755)
    (tmp_path / "rc").write_text(scripts.SCRIPTS["bash"])

    def complete(line):
        script = (
            f"PATH={tmp_path}/bin:$PATH; compopt() {{ :; }}; source {tmp_path}/rc\n"
            f'COMP_LINE="$1"; COMP_POINT=${{#1}}; _pileus; printf "%s\\n" "${{COMPREPLY[@]}}"'
        )
        done = subprocess.run(["bash", "-c", script, "bash", line], check=True, capture_output=True, text=True)
        return done.stdout.split()

    return complete


def test_bash_completes_from_what_is_kept(bash):
    assert bash("pileus list zo") == ["zones", "zonesmetrics"]
    assert bash("pileus create pod zone") == ["zoneid="]
    assert bash("pileus list zones -o js") == ["json", "jsonl"]
    assert bash("pileus create pod allocationstate=E") == ["Enabled"]


def test_bash_has_values_soon_after_they_were_wanted_first(bash):
    until = time.monotonic() + 20
    while (found := bash("pileus create pod zoneid=")) != ["alpha", "beta"]:
        assert time.monotonic() < until, found
        time.sleep(0.3)
    assert bash("pileus create pod zoneid=al") == ["alpha"]


def test_fish_and_zsh_get_descriptions(as_admin, pileus, capsys):
    pileus("list", "zones")
    assert answer(["fish", "pileus list zones nam"]) == 0
    assert capsys.readouterr().out == "name=\tonly the zone of this name\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_one_that_the_shell_takes(shell, pileus):
    text = pileus("completion", shell).out
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert subprocess.run([shell, "-n"], input=text, text=True, check=False).returncode == 0


def test_completion_can_be_without_values(catalog):
    assert Completer(catalog, nothing).complete("deploy virtualmachine zoneid=")[0] == []
