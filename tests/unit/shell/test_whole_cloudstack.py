"""Every command of CloudStack 4.22, as its listApis describes them, through help, completion and a call."""

import pytest

from tests.contract.cloudstack import facts
from ui.shell import help as telling
from ui.shell import lookup
from ui.shell.catalog import Catalog, split
from ui.shell.completion import Completer, nothing
from ui.shell.grammar import COMMANDS, WORDLESS
from ui.shell.profiles import Config
from ui.shell.screen import Screen

UNLISTED = {
    "listings of their own": ("nspid", "providertype", "vlanid", "ruleid", "jobid", "startid", "imagestoreuuid"),
    "vendors' devices": ("lbdeviceid", "fwdeviceid", "vcsdeviceid", "nvpdeviceid", "bcfdeviceid", "existingvcenterid"),
    "of several kinds": ("id", "resourceid", "targetid", "parentid"),
    "by another name": ("kubernetesversionid", "minimumkubernetesversionid", "bladeid", "objectstorageid"),
    "of one command": ("storagepolicy", "s2scustomergatewayid", "convertinstancepoolid"),
}


def described():
    """listApis of CloudStack 4.22 without its sentences, and without `related`, which older ones lack."""
    for name, (is_async, _, _, _, _, answer, params) in facts()["commands"].items():
        yield {
            "name": name,
            "description": f"What {name} does.",
            "isasync": is_async,
            "params": [
                {"name": one, "type": kind.rstrip("*").split()[0], "required": kind.endswith("*"), "description": "d"}
                for one, kind in params.items()
            ],
            "response": [{"name": one, "type": "string"} for one in facts()["responses"].get(answer, {})],
        }


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    made = Catalog(tmp_path_factory.mktemp("cloud") / "cloudstack.apis")
    made.keep(list(described()))
    return made


def test_every_command_is_found_by_verb_and_noun_and_by_its_name(catalog):
    for name in facts()["commands"]:
        verb, noun = split(name)
        assert catalog.find([name.lower()]).name == name
        if noun:
            assert catalog.find([verb, noun]).name == name


def test_no_command_is_hidden_by_a_word_of_the_shell(catalog):
    hidden = [name for name in catalog if (split(name)[0] in COMMANDS or name in COMMANDS) and name != "login"]
    assert {split(name)[0] for name in hidden} <= set(WORDLESS)


def test_every_verb_noun_and_parameter_completes(catalog):
    completer = Completer(catalog, nothing)
    verbs = {one.text for one in completer.complete("")[0]}
    for name in catalog:
        verb, noun = split(name)
        assert verb in verbs or verb in COMMANDS
        if noun:
            assert noun in [one.text for one in completer.complete(f"{verb} {noun}")[0]]
        if name in COMMANDS:
            continue
        offered = [one.text for one in completer.complete(f"{name} ")[0]]
        assert {f"{one.name}=" for one in catalog[name].params.values()} <= set(offered)


def test_every_command_is_explained(catalog, terminal):
    _, out, _ = terminal()
    for name in catalog:
        text = telling.of_command(Screen(out), catalog, catalog[name])
        assert f"What {name} does." in text
        assert all(f"{one.name}=" in text for one in catalog[name].params.values())


def test_identifiers_have_lists_even_where_the_server_does_not_tell_which(catalog):
    known = {name for names in UNLISTED.values() for name in names}
    missing, count = [], 0
    for name, (*_, params) in facts()["commands"].items():
        for one, kind in params.items():
            if kind.rstrip("*") != "uuid":
                continue
            count += 1
            if not lookup.source(catalog, catalog[name], catalog[name].params[one.lower()]):
                missing.append((name, one))
    assert [pair for pair in missing if pair[1] not in known] == []
    assert len(missing) < count / 25


def test_commands_stay_readable_while_another_process_reads_them_anew(tmp_path):
    path = tmp_path / "cloudstack.apis"
    Catalog(path).keep(list(described()))
    open_one = Catalog(path)
    open_one.load()
    Catalog(path).keep([one for one in described() if one["name"].startswith("list")][::2])
    assert [open_one[name].name for name in open_one] == sorted(facts()["commands"])


def test_whole_cloud_is_read_from_a_server(foreign, pileus):
    foreign.replies["listApis"] = {"count": len(facts()["commands"]), "api": list(described())}
    assert pileus("sync").code == 0
    config = Config()
    assert set(Catalog.open(config.cache, config.chosen())) == set(facts()["commands"])
    foreign.replies["migrateVirtualMachineWithVolume"] = {"jobid": "7"}
    assert pileus("add", "guestos", "fordisplay=true", "--dry-run", "oscategoryid=1", "osdisplayname=a").code == 0
    ids = [f"virtualmachineid={'0' * 8}-0000-4000-8000-{'0' * 12}", "migrateto[0].volume=v", "migrateto[0].pool=p"]
    assert pileus("migrate", "virtualmachinewithvolume", *ids, "--no-block").code == 0
    (sent,) = foreign.sent("migrateVirtualMachineWithVolume")
    assert (sent["migrateto[0].volume"], sent["migrateto[0].pool"]) == ("v", "p")
