"""What the emulated devices tell the kernel and HAProxy, judged by those tools without bringing it into force."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from lxml import etree

from devcloud.devices.junos import kernel, load, references
from devcloud.devices.junos.layout import layout_of
from devcloud.devices.junos.packets import nft
from devcloud.devices.linux import PlaneError
from devcloud.devices.nitro import haproxy
from devcloud.devices.nitro.server import Idle
from devcloud.devices.nitro.store import Store
from network.balancing import Stickiness
from network.elements.junos_tree import change
from network.elements.netscaler_config import KINDS
from network.elements.netscaler_config import wanted as wanted_resources
from network.elements.srx_config import held, name_of, wanted
from network.types import Opening, StaticNat
from tests.unit.network.srx_lab import BASE
from tests.unit.network.test_netscaler import ALL, NETWORK, SECURE, VIP, WEB
from tests.unit.network.test_srx_config import FIRST, FULL, OTHER, SECOND, SETTINGS
from tests.unit.network.test_srx_config import WEB as HTTP


def configured(*specs) -> etree._Element:
    found = load.load(load.empty(), etree.fromstring(BASE))
    for spec in specs:
        found = load.load(found, change(held(found, spec.id, SETTINGS), wanted(spec, SETTINGS)), "replace")
    references.check(found)
    return found


def rules(configuration) -> str:
    text = nft(configuration, layout_of(configuration), {})
    judged = subprocess.run(["nft", "-c", "-f", "-"], input=text, text=True, capture_output=True, check=False)
    assert judged.stderr == ""
    return text


def test_rules_of_two_networks_are_kept_apart():
    configuration = configured(FULL, OTHER)
    text, layout = rules(configuration), layout_of(configuration)
    one, other = (layout.instances[name_of(spec.id)] for spec in (FULL, OTHER))
    assert one != other
    assert f'iifname "ge-0-0-1.100" meta mark set {one} ct zone set {one} accept' in text
    assert f"ip daddr {FIRST} meta mark set {one} ct zone set {one}" in text
    assert f"ip daddr {FIRST} meta l4proto {{ tcp }} th dport {{ 80 }} dnat to 10.1.1.11:8080" in text
    assert f"ip saddr {{ 10.1.1.12/32 }} snat to {SECOND}" in text
    lines = list(kernel._route_lines(configuration, layout, {"ge-0-0-1.100", "ge-0-0-1.200"}))
    tables = {line.split("table ")[1].split()[0] for line in lines if "10.1.1.0/24" in line}
    assert tables == {str(1000 + one), str(1000 + other)}


def test_numbers_stay_when_networks_come_and_go():
    alone, both = layout_of(configured(FULL)), layout_of(configured(OTHER, FULL))
    assert alone.instances.items() <= both.instances.items()
    assert alone.zone_numbers.items() <= both.zone_numbers.items()


def test_static_translation_goes_both_ways():
    text = f"""<configuration><security><nat><static><rule-set><name>s</name><from><zone>untrust</zone></from>
      <rule><name>r</name><static-nat-rule-match><destination-address><dst-addr>192.0.2.7/32</dst-addr>
      </destination-address></static-nat-rule-match><then><static-nat><prefix><addr-prefix>10.1.1.12/32</addr-prefix>
      <routing-instance>{layout_name()}</routing-instance></prefix></static-nat></then></rule></rule-set></static></nat>
      </security></configuration>"""
    found = load.load(configured(FULL), etree.fromstring(text))
    references.check(found)
    written = rules(found)
    assert "ip daddr 192.0.2.7 dnat to 10.1.1.12" in written
    assert "ip saddr 10.1.1.12 snat to 192.0.2.7" in written


def layout_name() -> str:
    return next(iter(layout_of(configured(FULL)).instances))


def test_an_address_of_two_instances_cannot_be_forwarded():
    taken = replace(
        OTHER, addresses=(FIRST,), static_nats=(StaticNat(FIRST, "10.1.1.11"),), openings=(Opening(FIRST, HTTP),)
    )
    with pytest.raises(PlaneError, match=f"{FIRST} leads to two routing instances"):
        layout_of(configured(FULL, taken))


def stored(tmp_path, network) -> Store:
    store = Store(tmp_path, Idle())
    store.enable(["LB", "SSL"], on=True)
    resources = wanted_resources(network, "1/2")
    for kind in KINDS:
        for key in (key for key in resources if key[0] == kind.name):
            store.add(kind.name, resources[key])
    return store


def here(_domain: int) -> str:
    return "/proc/self/ns/net"


def planned(store: Store) -> str:
    """What serves the network's traffic domain."""
    return haproxy.text(store.in_force, "/nowhere", NETWORK.vlan, here)


@pytest.mark.parametrize(
    ("sticky", "line"),
    [
        (None, "balance roundrobin"),
        (Stickiness("SourceBased", expiry=600), "stick-table type ip size 200k expire 10m"),
        (Stickiness("LbCookie", "SRV"), "cookie SRV insert indirect"),
        (Stickiness("AppCookie", "APP"), "stick store-response res.cook(APP)"),
    ],
)
def test_haproxy_takes_what_the_driver_wants(tmp_path, sticky, line):
    narrow = replace(NETWORK, balancers=(replace(WEB, stickiness=sticky),),
                     openings=(Opening(VIP, replace(ALL[0].traffic, sources=("192.0.2.0/24",))),))  # fmt: skip
    text = planned(stored(tmp_path, narrow))
    assert f"  {line}\n" in text
    assert "tcp-request connection reject unless { src 192.0.2.0/24 }" in text
    path = tmp_path / "haproxy.cfg"
    path.write_text(haproxy.GLOBAL.format(socket=tmp_path / "s", state=tmp_path / "servers") + text)
    (tmp_path / "servers").write_text("")
    judged = subprocess.run(["haproxy", "-c", "-q", "-f", path], text=True, capture_output=True, check=False)
    assert (judged.returncode, judged.stderr) == (0, "")


def test_tls_needs_a_certificate_and_load_balancing_its_feature(tmp_path):
    store = stored(tmp_path, replace(NETWORK, balancers=(SECURE,)))
    assert f"bind {VIP}:443 namespace ../../proc/self/ns/net ssl crt /nowhere/" in planned(store)
    (binding,) = store.every("sslvserver_sslcertkey_binding")
    store.delete("sslvserver_sslcertkey_binding", binding["vservername"], {})
    assert "bind" not in planned(store)
    store.enable(["LB"], on=False)
    assert planned(store).count("frontend") == 0


def test_an_expression_that_it_does_not_evaluate_is_refused(tmp_path):
    store = stored(tmp_path, replace(NETWORK, balancers=(WEB,)))
    (server,) = store.running["lbvserver"].values()
    for change_ in ({"listenpolicy": "CLIENT.TCP.DSTPORT.EQ(80)"}, {"persistencetype": "RULE", "rule": "true"}):
        broken = {**store.running, "lbvserver": {("x",): {**server, **change_}}}
        with pytest.raises(PlaneError, match="does not evaluate"):
            haproxy.text(broken, "/nowhere", NETWORK.vlan, here)
