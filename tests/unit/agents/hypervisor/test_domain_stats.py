"""What is made of libvirt's answer to its one call for figures."""

from __future__ import annotations

from agents.host.hypervisor.domain_stats import measured

DISKS = {
    "block.count": 3,
    "block.0.rd.bytes": 10, "block.0.wr.bytes": 20, "block.0.rd.reqs": 1, "block.0.wr.reqs": 2,
    "block.1.rd.bytes": 1, "block.1.wr.bytes": 2, "block.1.rd.reqs": 3, "block.1.wr.reqs": 4,
}  # fmt: skip
NICS = {
    "net.count": 2,
    "net.0.name": "tap0", "net.0.rx.bytes": 5, "net.0.tx.bytes": 6,
    "net.1.name": "tap1",
}  # fmt: skip


def test_disks_and_nics_are_summed():
    found = measured([("one", {"cpu.time": 7, "balloon.current": 64, "balloon.maximum": 65, **DISKS, **NICS})], 9.0)
    (guest,) = found.guests
    assert found.taps == {"tap0": (5, 6)}
    assert (guest.vm_id, guest.measured, guest.cpu_ns) == ("one", 9.0, 7)
    assert (guest.read, guest.written, guest.reads, guest.writes) == (11, 22, 4, 6)
    assert (guest.received, guest.sent) == (5, 6)
    assert (guest.memory, guest.memory_target, guest.memory_free) == (64, 65, None)


def test_a_busy_domain_is_left_out_but_for_its_taps():
    busy = {"cpu.time": 7, "block.count": 1, "block.0.name": "vda", **NICS}
    found = measured([("busy", busy), ("starts", {"block.count": 0}), ("bare", {"cpu.time": 1})], 9.0)
    assert [guest.vm_id for guest in found.guests] == ["bare"]
    assert found.taps == {"tap0": (5, 6)}
