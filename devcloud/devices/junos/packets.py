"""The committed configuration as one nft file.

Connections of a routing instance are tracked in a zone of their own, so equal addresses in two instances never meet.
The mark of a connection is the security zone that it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, collapse_addresses

from lxml import etree

from devcloud.devices.junos.layout import Layout, plain_address
from devcloud.devices.junos.remote_access import PORTS, ZONE, Gateway
from devcloud.devices.junos.tree import texts

MANAGEMENT = "fxp0"
Counters = Mapping[tuple[str, str], tuple[int, int]]


def nft(configuration: etree._Element, layout: Layout, counters: Counters, gateways: tuple[Gateway, ...] = ()) -> str:
    """`counters` are what has been counted until now."""
    return NFT.format(
        counters="".join(f"  {line}\n" for line in _counters(configuration, counters)),
        filters="".join(_filters(configuration)),
        policies="".join(_policy_chains(configuration)),
        classify=_lines([*_to_gateways(gateways), *_classify(layout)]),
        gateways=_lines(_at_gateways(configuration, gateways)),
        filter_in=_lines(f'iifname "{unit.device}" jump f_{unit.inputs}' for unit in layout.units if unit.inputs),
        filter_out=_lines(f'oifname "{unit.device}" jump f_{unit.outputs}' for unit in layout.units if unit.outputs),
        zones=_lines(_zones(layout)),
        translated=_lines(_translated(configuration)),
        contexts=_lines(_contexts(configuration, layout)),
        host=_lines(_host(layout)),
        management=MANAGEMENT,
        arriving=_lines(_arriving(configuration, layout)),
        leaving=_lines(_leaving(configuration, layout)),
    )


def counter_name(filter_name: str, counter: str) -> str:
    return f"c_{filter_name}__{counter}"


def counters_of(configuration: etree._Element) -> list[tuple[str, str]]:
    """Filter and counter of each term that counts."""
    found = [
        (one.findtext("name") or "", counter)
        for one in configuration.findall("firewall/filter")
        for counter in texts(one, "term/then/count")
    ]
    return sorted(set(found))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)


def _counters(configuration: etree._Element, counted: Counters) -> Iterator[str]:
    for one in counters_of(configuration):
        packets, octets = counted.get(one, (0, 0))
        yield f"counter {counter_name(*one)} {{ packets {packets} bytes {octets} }}"


def _filters(configuration: etree._Element) -> Iterator[str]:
    """What no term accepts is discarded, as in Junos."""
    for one in configuration.findall("firewall/filter"):
        name = one.findtext("name") or ""
        rules = [line for term in one.findall("term") for line in _term(name, term)]
        yield f"  chain f_{name} {{\n{_lines([*rules, 'drop'])}  }}\n"


def _term(filter_name: str, term: etree._Element) -> Iterator[str]:
    said = term.find("from")
    where = (
        "" if said is None else _addresses(texts(said, "source-address/name"), texts(said, "destination-address/name"))
    )
    matches = [""] if said is None else list(_filter_matches(said))
    count = term.findtext("then/count")
    counting = f"counter name {counter_name(filter_name, count)} " if count else ""
    verdict = "drop" if term.find("then/discard") is not None else "accept"
    for match in matches:
        yield f"{where}{match}{counting}{verdict}"


def _filter_matches(said: etree._Element) -> Iterator[str]:
    ports = ", ".join(texts(said, "destination-port"))
    kinds, codes = ", ".join(texts(said, "icmp-type")), ", ".join(texts(said, "icmp-code"))
    for protocol in texts(said, "protocol") or [""]:
        found = f"meta l4proto {protocol} " if protocol else ""
        found += f"th dport {{ {ports} }} " if ports else ""
        found += f"icmp type {{ {kinds} }} " if kinds else ""
        yield found + (f"icmp code {{ {codes} }} " if codes else "")


def _addresses(sources: list[str], destinations: list[str]) -> str:
    return _within("ip saddr", sources) + _within("ip daddr", destinations)


def _within(field: str, prefixes: list[str]) -> str:
    """A match with a space behind it; nothing for all addresses."""
    networks = list(collapse_addresses(IPv4Network(prefix) for prefix in prefixes))
    if not networks or networks[0].prefixlen == 0:
        return ""
    return f"{field} {{ {', '.join(map(str, networks))} }} "


def _named(devices: Iterable[str]) -> str:
    quoted = ", ".join(f'"{device}"' for device in devices)
    return f"{{ {quoted} }}"


def _classify(layout: Layout) -> Iterator[str]:
    """The mark of a packet is the routing instance that it, or the device's own answer to it, is routed in."""
    outer = [unit.device for unit in layout.units if not unit.instance]
    for unit in layout.units:
        if unit.instance:
            yield f'iifname "{unit.device}" meta mark set {unit.instance} ct zone set {unit.instance} accept'
    if outer:
        for address, instance in sorted(layout.owners.items()):
            yield f"iifname {_named(outer)} ip daddr {address} meta mark set {instance} ct zone set {instance}"


def _to_gateways(gateways: tuple[Gateway, ...]) -> Iterator[str]:
    ports = ", ".join(map(str, PORTS))
    for one in gateways:
        tracked = f"ct zone set {ZONE} accept"
        where = f'iifname "{one.device}" ip daddr {one.address} udp dport {{ {ports} }}'
        yield f"{where} meta mark set {one.mark} {tracked}"
        yield f'iifname "{one.wire}" {tracked}'


def _at_gateways(configuration: etree._Element, gateways: tuple[Gateway, ...]) -> Iterator[str]:
    """What a gateway hears, judged anew for each packet: who may not come any more does not go on."""
    for one in gateways:
        yield f'iifname "{one.wire}" oifname "{one.device}" accept'
        yield f'iifname "{one.wire}" drop'
        for _, rule in _destination_rules(configuration) if one.is_open else ():
            match = _rule_match(rule, "ip daddr", "th dport")
            if f"ip daddr {one.address} " in match:
                verdict = "drop" if rule.find("then/destination-nat/off") is None else "accept"
                yield f'oifname "{one.wire}" {match}{verdict}'
        yield f'oifname "{one.wire}" {"accept" if one.is_open else "drop"}'


def _zones(layout: Layout) -> Iterator[str]:
    for zone, devices in layout.zones.items():
        if devices:
            yield f"ct mark 0 iifname {_named(devices)} ct mark set {layout.zone_numbers[zone]}"


def _policy_chains(configuration: etree._Element) -> Iterator[str]:
    """Addresses are those of the zones' books; the first policy that fits holds."""
    books = {
        zone.findtext("name"): {
            entry.findtext("name"): entry.findtext("ip-prefix") or "" for entry in zone.findall("address-book/address")
        }
        for zone in configuration.findall("security/zones/security-zone")
    }
    applications = {
        one.findtext("name"): _application(one) for one in configuration.findall("applications/application")
    }
    for number, context in enumerate(configuration.findall("security/policies/policy")):
        rules: list[str] = []
        for policy in context.findall("policy"):
            ends = [
                [book[name] for name in texts(policy, f"match/{side}") if name in book]
                for side, book in (
                    ("source-address", books.get(context.findtext("from-zone-name"), {})),
                    ("destination-address", books.get(context.findtext("to-zone-name"), {})),
                )
            ]
            verdict = _verdict(policy)
            names = texts(policy, "match/application")
            rules += [f"{_addresses(*ends)}{applications.get(name, '')}{verdict}" for name in names]
        yield f"  chain p_{number} {{\n{_lines(rules)}  }}\n"


def _verdict(policy: etree._Element) -> str:
    counting = "counter " if policy.find("then/count") is not None else ""
    if policy.find("then/permit") is not None:
        return f"{counting}accept"
    return counting + ("reject" if policy.find("then/reject") is not None else "drop")


def _application(one: etree._Element) -> str:
    found = f"meta l4proto {one.findtext('protocol')} "
    for field, statement in (("th dport", "destination-port"), ("icmp type", "icmp-type"), ("icmp code", "icmp-code")):
        value = one.findtext(statement)
        found += f"{field} {value} " if value else ""
    return found


def _contexts(configuration: etree._Element, layout: Layout) -> Iterator[str]:
    for number, context in enumerate(configuration.findall("security/policies/policy")):
        sources = layout.devices([context.findtext("from-zone-name") or ""])
        targets = layout.devices([context.findtext("to-zone-name") or ""])
        if sources and targets:
            yield f"iifname {_named(sources)} oifname {_named(targets)} jump p_{number}"


def _host(layout: Layout) -> Iterator[str]:
    for unit in layout.units:
        if unit.answers_pings and unit.addresses:
            own = ", ".join(str(address.ip) for address in unit.addresses)
            yield f'iifname "{unit.device}" ip daddr {{ {own} }} icmp type echo-request accept'


def _destination_rules(configuration: etree._Element) -> Iterator[tuple[etree._Element, etree._Element]]:
    for rule_set in configuration.findall("security/nat/destination/rule-set"):
        for rule in rule_set.findall("rule"):
            yield rule_set, rule


def _static_rules(configuration: etree._Element) -> Iterator[tuple[list[str], str, str, str]]:
    """From-zones, outer address, inner address and routing instance."""
    for rule_set in configuration.findall("security/nat/static/rule-set"):
        for rule in rule_set.findall("rule"):
            outer = plain_address(rule.findtext("static-nat-rule-match/destination-address/dst-addr") or "")
            inner = plain_address(rule.findtext("then/static-nat/prefix/addr-prefix") or "")
            instance = rule.findtext("then/static-nat/prefix/routing-instance") or ""
            yield texts(rule_set, "from/zone"), outer, inner, instance


def _translated(configuration: etree._Element) -> Iterator[str]:
    """Connections to translated addresses that still lead where they led when they were opened."""
    for _, outer, inner, _ in _static_rules(configuration):
        yield f"ct original ip daddr {outer} ip daddr {inner} return"
    for _, rule in _destination_rules(configuration):
        pool = _pool(configuration, rule)
        if pool is not None:
            match = _rule_match(rule, "ct original ip daddr", "ct original proto-dst")
            yield f"{match}ip daddr {plain_address(pool.findtext('address/ipaddr') or '')} return"


def _pool(configuration: etree._Element, rule: etree._Element) -> etree._Element | None:
    name = rule.findtext("then/destination-nat/pool/pool-name")
    pools = configuration.findall("security/nat/destination/pool")
    return next((pool for pool in pools if pool.findtext("name") == name), None)


def _rule_match(rule: etree._Element, address: str, port: str) -> str:
    said = rule.find("dest-nat-rule-match")
    if said is None:
        return ""
    found = _within("ip saddr", texts(said, "source-address"))
    found += f"{address} {plain_address(said.findtext('destination-address/dst-addr') or '')} "
    spans = [
        f"{low}-{high}" if (high := one.findtext("to/high")) and high != low else low
        for one in said.findall("destination-port")
        if (low := one.findtext("low"))
    ]
    protocols = texts(said, "protocol") or (["tcp", "udp"] if spans else [])
    if protocols:
        found += f"meta l4proto {{ {', '.join(protocols)} }} "
    return found + (f"{port} {{ {', '.join(spans)} }} " if spans else "")


def _arriving(configuration: etree._Element, layout: Layout) -> Iterator[str]:
    """Static translation comes before that of destinations."""
    for zones, outer, inner, _ in _static_rules(configuration):
        if devices := layout.devices(zones):
            yield f"iifname {_named(devices)} ip daddr {outer} dnat to {inner}"
    for rule_set, rule in _destination_rules(configuration):
        devices, pool = layout.devices(texts(rule_set, "from/zone")), _pool(configuration, rule)
        match = _rule_match(rule, "ip daddr", "th dport")
        if devices and pool is not None:
            port = pool.findtext("address/port")
            target = plain_address(pool.findtext("address/ipaddr") or "") + (f":{port}" if port else "")
            yield f"iifname {_named(devices)} {match}dnat to {target}"
        elif devices:
            yield f"iifname {_named(devices)} {match}accept"


def _leaving(configuration: etree._Element, layout: Layout) -> Iterator[str]:
    for zones, outer, inner, instance in _static_rules(configuration):
        if devices := layout.devices(zones):
            number = layout.instances.get(instance, 0)
            yield f"oifname {_named(devices)} ct zone {number} ip saddr {inner} snat to {outer}"
    pools = {
        pool.findtext("name"): plain_address(pool.findtext("address/name") or "")
        for pool in configuration.findall("security/nat/source/pool")
    }
    for rule_set in configuration.findall("security/nat/source/rule-set"):
        sources = ", ".join(str(layout.zone_numbers[zone]) for zone in texts(rule_set, "from/zone"))
        if devices := layout.devices(texts(rule_set, "to/zone")):
            for rule in rule_set.findall("rule"):
                said = f"{_matched(rule)}{_source_action(rule, pools)}"
                yield f"ct mark {{ {sources} }} oifname {_named(devices)} {said}"


def _matched(rule: etree._Element) -> str:
    match = "src-nat-rule-match"
    return _addresses(texts(rule, f"{match}/source-address"), texts(rule, f"{match}/destination-address"))


def _source_action(rule: etree._Element, pools: dict[str | None, str]) -> str:
    action = rule.find("then/source-nat")
    if action is None or action.find("off") is not None:
        return "accept"
    return (
        "masquerade" if action.find("interface") is not None else f"snat to {pools[action.findtext('pool/pool-name')]}"
    )


NFT = """table ip junos
delete table ip junos
table ip junos {{
{counters}{filters}{policies}  chain classify {{
    type filter hook prerouting priority raw; policy accept;
{classify}  }}
  chain filter_in {{
    type filter hook prerouting priority -250; policy accept;
{filter_in}  }}
  chain filter_out {{
    type filter hook postrouting priority 250; policy accept;
{filter_out}  }}
  chain translated {{
{translated}    drop
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iif lo accept
    iifname "{management}" accept
    ct state established,related accept
{host}  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state invalid drop
    ct state related accept
{gateways}    ct direction reply accept
{zones}    ct status dnat jump translated
{contexts}  }}
  chain arriving {{
    type nat hook prerouting priority dstnat; policy accept;
{arriving}  }}
  chain leaving {{
    type nat hook postrouting priority srcnat; policy accept;
{leaving}  }}
}}
"""
