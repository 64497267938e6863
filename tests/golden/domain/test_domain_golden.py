"""The XML of domains against files that show every change, against libvirt's schema, and read back.

`UPDATE_GOLDEN=1 pytest tests/golden/domain` writes the files anew.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from agents.contract import DiskSpec, NicSpec, VmSpec
from agents.host.hypervisor.domain_xml import AttachedDisk, Platform, device_name, domain_xml
from agents.host.hypervisor.metadata import NAMESPACE, DomainMark, mark_element, read_mark
from storage.types import DiskSource, IoLimits, PoolSpec

FOLDER = Path(__file__).parent
POOL = PoolSpec("pool", "local", "/srv/pileus")
VM_ID = "0b7c8b1e-5f4f-4b43-9f0e-0d6b5d0c9f11"
VOLUMES = ("9a0cb9f4-4d1c-4d51-8f0e-6b8f3d6ff0aa", "7cbf2f0a-31f0-4b5a-9c9e-bb3f6f1a2c33")
NICS = tuple(
    NicSpec(f"3b0cb9f4-4d1c-4d51-8f0e-6b8f3d6ff0a{number}", "network", f"02:00:00:00:00:0{number}", 1450)
    for number in range(2)
)
PLATFORM = Platform("qemu", "/var/lib/pileus/console")
SMALL = VmSpec(VM_ID, "i-2-7-VM", 1, 1, 64 << 20)
USUAL = replace(
    SMALL,
    generation=3,
    cpus=2,
    memory=2 << 30,
    cpu_mhz=1000,
    nics=NICS[:1],
    disks=(DiskSpec(VOLUMES[0], POOL, "qcow2"),),
)


def disk(number: int, **changes: object) -> AttachedDisk:
    source = DiskSource(f"/srv/pileus/volumes/{VOLUMES[number]}", "qcow2")
    return replace(AttachedDisk(VOLUMES[number], number, source), **changes)


LIMITS = IoLimits(read_bytes=10 << 20, read_bytes_max=20 << 20, read_bytes_max_length=5, write_iops=100)
CASES = {
    "smallest": (SMALL, (), replace(PLATFORM, cpu_shares=False)),
    "emulated": (replace(USUAL, hostname="web-1"), (disk(0),), PLATFORM),
    "kvm": (USUAL, (disk(0),), replace(PLATFORM, virt_type="kvm", cpu_model="host-model", offloads=True)),
    "passthrough": (USUAL, (disk(0),), replace(PLATFORM, virt_type="kvm", cpu_model="host-passthrough")),
    "q35": (USUAL, (disk(0),), replace(PLATFORM, machine="q35", cpu_model="maximum")),
    "tuned": (
        replace(USUAL, cpu_capped=True, io_threads=True, io_policy="io_uring"),
        (
            disk(0, cache="writeback", limits=LIMITS),
            disk(1, cache="writethrough", limits=IoLimits(write_iops=50, read_iops_max_length=9)),
        ),
        replace(PLATFORM, host_mhz=4000),
    ),
    "disks": (
        replace(USUAL, hostname="Größe & <Maß>", nics=NICS, cpus=64, cpu_mhz=4000),
        (disk(1, source=DiskSource("/dev/vg/volume", "raw", "block")), disk(0, direct=False)),
        PLATFORM,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_xml_is_as_recorded(name: str) -> None:
    file = FOLDER / f"{name}.xml"
    text = domain_xml(*CASES[name])
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


def test_every_recorded_file_has_a_case() -> None:
    assert {file.stem for file in FOLDER.glob("*.xml")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_xml_keeps_to_the_schema(name: str, tmp_path: Path) -> None:
    # libvirt takes elements in any order of a definition; a misspelled one is an error of the schema only.
    file = tmp_path / "domain.xml"
    file.write_text(domain_xml(*CASES[name]))
    subprocess.run(["virt-xml-validate", file, "domain"], check=True, capture_output=True)


@pytest.mark.parametrize("name", CASES)
def test_the_mark_survives_libvirt(name: str) -> None:
    """libvirt parses the metadata and writes them anew; its test driver takes no emulated machine types."""
    vm, disks, platform = CASES[name]
    root = etree.fromstring(domain_xml(vm, disks, platform))
    plain = etree.fromstring(f"<domain type='test'><name>x</name><uuid>{VM_ID}</uuid><memory>1</memory></domain>")
    plain.append(etree.fromstring("<os><type>hvm</type></os>"))
    plain.append(root.find("metadata"))
    connection = libvirt.open("test:///default")
    domain = connection.defineXML(etree.tostring(plain, encoding="unicode"))
    assert read_mark(domain.XMLDesc()) == DomainMark(vm.id, vm.generation, vm.hostname)
    domain.undefine()
    connection.close()


@given(st.text(alphabet=st.characters(), max_size=60), st.integers(0, 2**63))
def test_any_host_name_is_read_back(hostname: str, generation: int) -> None:
    vm = replace(USUAL, hostname=hostname, generation=generation)
    text = domain_xml(vm, (disk(0),), PLATFORM)
    assert read_mark(text) == DomainMark(VM_ID, generation, hostname)
    root = etree.fromstring(text)
    # A host name changes its own element and nothing else.
    root.find(f"metadata/{{{NAMESPACE}}}vm/{{{NAMESPACE}}}hostname").text = None
    root.find(f"metadata/{{{NAMESPACE}}}vm/{{{NAMESPACE}}}generation").text = None
    plain = etree.fromstring(domain_xml(replace(vm, hostname=""), (disk(0),), PLATFORM))
    plain.find(f"metadata/{{{NAMESPACE}}}vm/{{{NAMESPACE}}}generation").text = None
    assert etree.tostring(root, method="c14n") == etree.tostring(plain, method="c14n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<domain/>",
        "<domain><metadata/></domain>",
        "<domain><metadata><vm><uuid>x</uuid><generation>1</generation></vm></metadata></domain>",
        f"<domain><metadata><p:vm xmlns:p='{NAMESPACE}'><p:uuid>x</p:uuid></p:vm></metadata></domain>",
        f"<domain><metadata><p:vm xmlns:p='{NAMESPACE}'><p:generation>x</p:generation></p:vm></metadata></domain>",
        "<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain>&a;</domain>",
    ],
)
def test_what_is_not_our_mark_is_none(text: str) -> None:
    assert read_mark(text) is None


def test_the_bare_element_is_read() -> None:
    mark = DomainMark(VM_ID, 4, "name")
    assert read_mark(etree.tostring(mark_element(mark), encoding="unicode")) == mark


@pytest.mark.parametrize(
    ("cpu_mhz", "host_mhz", "quota"),
    [(1000, 4000, "25000"), (4000, 4000, None), (5000, 4000, None), (1, 4000, "1000"), (1000, 0, None)],
)
def test_a_capped_cpu_gets_its_part_of_the_hosts(cpu_mhz: int, host_mhz: int, quota: str | None) -> None:
    vm = replace(USUAL, cpu_capped=True, cpu_mhz=cpu_mhz)
    root = etree.fromstring(domain_xml(vm, (disk(0),), replace(PLATFORM, host_mhz=host_mhz)))
    assert root.findtext("cputune/quota") == quota
    assert root.find("cputune/shares") is not None


@pytest.mark.parametrize(
    ("policy", "cache", "direct", "driver"),
    [
        (None, "none", True, ("none", "native")),
        (None, "none", False, ("writeback", "threads")),
        (None, "writethrough", True, ("writethrough", "threads")),
        ("native", "writeback", True, ("writeback", "threads")),
        ("native", "none", True, ("none", "native")),
        ("io_uring", "none", True, ("none", "io_uring")),
        ("threads", "none", True, ("none", "threads")),
    ],
)
def test_native_io_is_for_disks_past_the_page_cache(policy, cache, direct, driver) -> None:
    text = domain_xml(replace(USUAL, io_policy=policy), (disk(0, cache=cache, direct=direct),), PLATFORM)
    found = etree.fromstring(text).find("devices/disk/driver")
    assert (found.get("cache"), found.get("io")) == driver


def test_device_names() -> None:
    assert [device_name(number) for number in (0, 1, 25, 26, 27, 701, 702)] == [
        "vda", "vdb", "vdz", "vdaa", "vdab", "vdzz", "vdaaa"
    ]  # fmt: skip
