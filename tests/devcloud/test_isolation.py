"""What a guest sends under another's address, or to everyone: it stays where it was sent."""

import pytest

BROADCAST = "10.1.1.255"
STRANGE_MAC = "02:00:00:00:00:99"


@pytest.fixture
def pings(proof):
    """Count of the pings that each guest but one-a has seen; a call gives those that came since the last."""
    others = [(t, name) for t in proof.tenants.values() for name in t.guests if name != "one-a"]
    before = {}

    def since():
        now = {name: proof.pings_seen(tenant, name) for tenant, name in others}
        came = {name: now[name] - before.get(name, 0) for name in now}
        before.update(now)
        return came

    since()
    return since


@pytest.fixture
def sender(proof, pings):
    """Run commands in one-a; before and after, its own pings arrive at one-b and nowhere else."""
    tenant = proof.tenants["tenant1"]

    def reaches():
        tenant.must("one-a", "ping -c 3 -i 0.3 -W 3 10.1.1.12", " 0% packet loss")
        assert pings() == {"one-b": 3, "two-a": 0, "two-b": 0}

    reaches()
    yield lambda command: tenant.run("one-a", command)[1]
    reaches()


def test_packets_from_another_address_go_nowhere(sender, pings):
    told = sender(
        "ip address add 10.1.1.99/24 dev eth0; ping -c 3 -i 0.3 -W 1 -I 10.1.1.99 10.1.1.12;"
        "ip address del 10.1.1.99/24 dev eth0"
    )
    assert "3 packets transmitted, 0 packets received" in told
    assert pings() == {"one-b": 0, "two-a": 0, "two-b": 0}


def test_packets_from_another_mac_go_nowhere(proof, sender, pings):
    """It need not ask for one-b's MAC, for it is told that."""
    neighbour = mac_of(proof, "one-b")
    told = sender(
        f"mac=$(cat /sys/class/net/eth0/address); ip link set eth0 address {STRANGE_MAC};"
        f"cat /sys/class/net/eth0/address; arp -s 10.1.1.12 {neighbour}; ping -c 3 -i 0.3 -W 1 10.1.1.12;"
        "arp -d 10.1.1.12; ip link set eth0 address $mac"
    )
    assert STRANGE_MAC in told
    assert "3 packets transmitted, 0 packets received" in told
    assert pings() == {"one-b": 0, "two-a": 0, "two-b": 0}


def test_neighbour_cannot_be_taken_over(proof, sender, pings):
    """one-a tells everyone by ARP that it has one-b's address; the router does not come to believe it."""
    tenant = proof.tenants["tenant1"]
    tenant.must("one-b", "true")
    told = sender(
        "ip address add 10.1.1.12/32 dev lo; arping -U -c 3 -I eth0 -s 10.1.1.12 10.1.1.12;"
        "ip address del 10.1.1.12/32 dev lo"
    )
    assert "Sent 3 probe" in told
    known = tenant.beside("one-b", ["ip", "neigh", "show", "10.1.1.12"])
    assert mac_of(proof, "one-b") in known
    tenant.must("one-b", "hostname", "one-b")


def mac_of(proof, name):
    """The MAC of a guest of tenant1's."""
    return proof.tenants["tenant1"].guests[name].vm["nic"][0]["macaddress"]


def test_broadcast_stays_in_its_network(sender, pings):
    told = sender(f"ping -c 3 -i 0.3 -W 1 {BROADCAST}")
    assert "3 packets transmitted" in told
    came = pings()
    assert (came["two-a"], came["two-b"]) == (0, 0)
