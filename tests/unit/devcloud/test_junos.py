"""The emulated SRX by its own protocol, through an unmodified NETCONF client; without packets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from lxml import etree
from ncclient import manager
from ncclient.operations import RPCError
from ncclient.transport.errors import AuthenticationError

from tests.unit.network.srx_lab import PASSWORD, EmulatedSrx, emulated

ZONE = "<security><zones><security-zone><name>{0}</name></security-zone></zones></security>"
MINUTE = 1.0


@pytest.fixture(scope="module")
def running():
    with emulated(minute=MINUTE) as device:
        yield device


@pytest.fixture
def device(running):
    """As the operator left it."""
    with client(running) as one:
        ask(one, "<lock-configuration/>")
        ask(one, '<load-configuration action="override"><configuration/></load-configuration>')
        ask(one, "<commit-configuration/>")
        ask(one, "<unlock-configuration/>")
    running.load_base()
    return running


@contextmanager
def client(device: EmulatedSrx, password: str = PASSWORD) -> Iterator[Any]:
    options = {"hostkey_verify": False, "allow_agent": False, "look_for_keys": False, "timeout": 10}
    where = {"host": "127.0.0.1", "port": device.settings.port, "username": "pileus", "password": password}
    with manager.connect(**where, **options, device_params={"name": "junos"}) as one:
        yield one


def ask(one: Any, text: str) -> str:
    return str(one.rpc(etree.fromstring(text)))


def load(one: Any, text: str, action: str = "merge") -> str:
    return ask(one, f'<load-configuration action="{action}"><configuration>{text}</configuration></load-configuration>')


def committed(one: Any) -> str:
    return ask(one, '<get-configuration database="committed"/>')


def test_a_wrong_password_is_refused(running):
    with pytest.raises(AuthenticationError), client(running, "wrong"):
        pass


def test_it_tells_what_it_is(device):
    with client(device) as one:
        assert "<host-name>srx-1</host-name>" in ask(one, "<get-system-information/>")
        assert "urn:ietf:params:netconf:base:1.0" in one.server_capabilities
        with pytest.raises(RPCError, match="syntax error"):
            ask(one, "<get-nothing/>")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<colour>red</colour>", "syntax error"),
        ("<security><zones><security-zone><colour/></security-zone></zones></security>", "syntax error"),
        ("<security><zones><security-zone/></zones></security>", "missing argument: name"),
        ("<security><zones><security-zone><name>a b</name></security-zone></zones></security>", "invalid value 'a b'"),
        (ZONE.format("z" * 32), "invalid value"),
        ("<applications><application><name>a</name><destination-port>9-1</destination-port></application></applications>",
         "invalid value '9-1'"),
        ('<applications><application delete="delete"><name>none</name></application></applications>',
         "statement not found"),
        (("<interfaces><interface><name>ge-0/0/1</name><unit><name>1</name><vlan-id>4095</vlan-id></unit></interface>"
         "</interfaces>"), "invalid value '4095' in vlan-id"),
    ],
)  # fmt: skip
def test_what_is_not_defined_is_not_loaded(device, text, reason):
    with client(device) as one:
        ask(one, "<open-configuration><private/></open-configuration>")
        with pytest.raises(RPCError, match=reason):
            load(one, text)


def nat(rule: str, pool: str = "") -> str:
    rules = f"<rule-set><name>extra</name><from><zone>trust</zone></from>{rule}</rule-set>"
    return ZONE.format("trust") + f"<security><nat><destination>{pool}{rules}</destination></nat></security>"


RULE = """<rule><name>r</name>
  <dest-nat-rule-match><destination-address><dst-addr>192.0.2.1/32</dst-addr></destination-address></dest-nat-rule-match>
  <then><destination-nat><pool><pool-name>p</pool-name></pool></destination-nat></then></rule>"""
POOL = "<pool><name>p</name>{0}<address><ipaddr>10.0.0.1/32</ipaddr></address></pool>"
POLICY = """<security><policies><policy><from-zone-name>untrust</from-zone-name><to-zone-name>{0}</to-zone-name><policy>
  <name>p</name><match><source-address>{1}</source-address><destination-address>any</destination-address>
  <application>{2}</application></match><then>{3}</then></policy></policy></policies></security>"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (nat(RULE), "Pool p is not defined"),
        (nat(RULE, POOL.format("<routing-instance><ri-name>none</ri-name></routing-instance>")), "instance none"),
        (nat("").replace("trust</zone>", "untrust</zone>"), "the same context as rule-set"),
        (POLICY.format("nowhere", "any", "any", "<permit/>"), "Security zone nowhere is not defined"),
        (POLICY.format("untrust", "office", "any", "<permit/>"), "office not found in zone untrust"),
        (POLICY.format("untrust", "any", "web", "<permit/>"), "web must be defined"),
        (POLICY.format("untrust", "any", "any", "<count/>"), "Missing mandatory statement: 'then'"),
        (ZONE.format("b").replace("<name>b</name>", "<name>b</name><interfaces><name>ge-0/0/0.0</name></interfaces>"),
         "already assigned to another zone"),
        ("<interfaces><interface><name>ge-0/0/1</name><unit><name>1</name></unit></interface></interfaces>",
         "VLAN-ID must be specified"),
        (("<routing-instances><instance><name>i</name><instance-type>virtual-router</instance-type>"
         "<interface><name>ge-0/0/9.0</name></interface></instance></routing-instances>"), "is not configured"),
    ],
)  # fmt: skip
def test_a_reference_to_nothing_is_not_committed(device, text, reason):
    with client(device) as one:
        before = committed(one)
        ask(one, "<open-configuration><private/></open-configuration>")
        load(one, text)
        for check in ("<check/>", ""):
            with pytest.raises(RPCError, match=reason):
                ask(one, f"<commit-configuration>{check}</commit-configuration>")
        assert body(committed(one)) == body(before)


def body(reply: str) -> str:
    return reply.partition("<configuration")[2]


def test_merge_replace_override_and_delete(device):
    book = "<address-book>{0}</address-book>"
    entry = "<address><name>{0}</name><ip-prefix>{1}</ip-prefix></address>"
    zone = ZONE.replace("<name>{0}</name>", "<name>t</name>{0}")
    with client(device) as one:
        ask(one, "<open-configuration><private/></open-configuration>")
        load(one, zone.format(book.format(entry.format("a", "10.0.0.0/8") + entry.format("b", "10.1.0.0/16"))))
        load(one, zone.format(book.format(entry.format("a", "10.9.0.0/16"))))
        found = ask(one, "<get-configuration/>")
        assert ("10.9.0.0/16" in found, "10.1.0.0/16" in found, "10.0.0.0/8" in found) == (True, True, False)
        replaced = zone.replace("<security-zone>", '<security-zone replace="replace">')
        load(one, replaced.format(book.format(entry.format("c", "10.2.0.0/16"))), "replace")
        found = ask(one, "<get-configuration/>")
        assert ("10.2.0.0/16" in found, "10.1.0.0/16" in found) == (True, False)
        load(one, ZONE.format("t").replace("<security-zone>", '<security-zone delete="delete">'))
        assert "10.2.0.0/16" not in ask(one, "<get-configuration/>")
        load(one, ZONE.format("only"), "override")
        assert "untrust" not in ask(one, "<get-configuration/>")


def test_a_private_candidate_is_nobody_elses_and_joins_what_others_commit(device):
    with client(device) as one, client(device) as other:
        for each, name in ((one, "first"), (other, "second")):
            ask(each, "<open-configuration><private/></open-configuration>")
            load(each, ZONE.format(name))
        assert "second" not in ask(one, "<get-configuration/>")
        ask(one, "<commit-configuration/>")
        ask(other, "<commit-configuration/>")
        assert ("first" in committed(one), "second" in committed(one)) == (True, True)


def test_a_lock_keeps_others_out_until_its_session_ends(device):
    with client(device) as other:
        with client(device) as one:
            ask(one, "<lock-configuration/>")
            load(one, ZONE.format("unfinished"))
            for call in ("<lock-configuration/>", "<open-configuration><private/></open-configuration>"):
                with pytest.raises(RPCError, match="locked") as caught:
                    ask(other, call)
                assert caught.value.tag == "lock-denied"
            with pytest.raises(RPCError, match="locked"):
                load(other, ZONE.format("b"))
        ask(other, "<lock-configuration/>")
        assert "unfinished" not in ask(other, "<get-configuration/>")


def test_an_unconfirmed_commit_is_taken_back_and_a_confirmed_one_stays(device):
    confirmed = "<commit-configuration><confirmed/><confirm-timeout>1</confirm-timeout></commit-configuration>"
    with client(device) as one:
        ask(one, "<open-configuration><private/></open-configuration>")
        load(one, ZONE.format("trial"))
        ask(one, confirmed)
        assert "trial" in committed(one)
        time.sleep(MINUTE + 0.5)
        assert "trial" not in committed(one)
        load(one, ZONE.format("kept"))
        ask(one, confirmed)
        ask(one, "<commit-configuration/>")
        time.sleep(MINUTE + 0.5)
        assert "kept" in committed(one)


def test_older_configurations_can_be_had_again(device):
    with client(device) as one:
        ask(one, "<open-configuration><private/></open-configuration>")
        for name in ("one", "two"):
            load(one, ZONE.format(name))
            ask(one, "<commit-configuration/>")
        ask(one, '<load-configuration rollback="1"/>')
        ask(one, "<commit-configuration/>")
        assert ("<name>one<" in committed(one), "<name>two<" in committed(one)) == (True, False)
        with pytest.raises(RPCError, match="rollback 51 is not available"):
            ask(one, '<load-configuration rollback="51"/>')


def test_the_calls_of_the_standard_do_the_same(device):
    target = "<target><candidate/></target>"
    with client(device) as one:
        ask(one, f"<lock>{target}</lock>")
        zone = ZONE.format("standard")
        ask(one, f"<edit-config>{target}<config><configuration>{zone}</configuration></config></edit-config>")
        ask(one, "<validate><source><candidate/></source></validate>")
        ask(one, "<commit><confirmed/><confirm-timeout>60</confirm-timeout></commit>")
        ask(one, "<commit/>")
        ask(one, f"<unlock>{target}</unlock>")
        wanted = "<filter><configuration><security><zones/></security></configuration></filter>"
        found = ask(one, f"<get-config><source><running/></source>{wanted}</get-config>")
        assert ("standard" in found, "interfaces>" in found.replace("<interfaces>", "", 1)) == (True, True)
        assert "routing-options" not in found


def test_what_is_committed_outlives_a_restart_and_a_trial_does_not(tmp_path):
    with emulated() as device:
        device.load_base()
        with client(device) as one:
            ask(one, "<open-configuration><private/></open-configuration>")
            load(one, ZONE.format("trial"))
            ask(one, "<commit-configuration><confirmed/></commit-configuration>")
        device.stop()
        device.start()
        with client(device) as one:
            found = committed(one)
        assert ("srx-1" in found, "trial" in found) == (True, False)
