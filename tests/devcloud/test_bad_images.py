"""Images that are not what they are said to be, or not to be had: the template tells why, the store keeps nothing."""

import hashlib
import os
import shutil
import subprocess

import pytest

from tests.devcloud.watch import refused, until

NO_NAME = f"{'x' * 64}.test"
"""A label of 64 characters: this is known without a name server."""
MOST = 64 * 2**30
NOT_OPEN = "The file URL names no regular file in a directory that is open to images."
NOT_REACHED = "The host {0} has the address {0}, which must not be reached."
NO_URL = "The URL {} is not http, https or file with a place, without user name and password."


@pytest.fixture(scope="module")
def images(cloud):
    """A directory that the store takes images from, with one good image and several that are not."""
    folder = cloud.site.cache / "images"
    folder.mkdir(exist_ok=True)
    (folder / "noise").write_bytes(os.urandom(100_000))
    (folder / "cut").write_bytes(cloud.site.guest_image.read_bytes()[:100_000])
    (folder / "passwd").symlink_to("/etc/passwd")
    for name, *words in (
        ("good", "-f", "qcow2", "1G"),
        ("backed", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "1G"),
        ("vast", "-f", "qcow2", "1P"),
        ("disk.vmdk", "-f", "vmdk", "1G"),
    ):
        *options, size = words
        subprocess.run(["qemu-img", "create", "-q", *options, str(folder / name), size], check=True)
    yield folder
    shutil.rmtree(folder)


BAD = {
    "random bytes": ("noise", "QCOW2", "The image is said to be qcow2, but its format is raw."),
    "a backing file": ("backed", "QCOW2", "The image is unsafe: it has a backing file."),
    "half an image": ("cut", "QCOW2", "The image is truncated: its tables lie behind its end."),
    "a qcow2 said to be raw": ("good", "RAW", "The image is said to be raw, but it is qcow2."),
    "a vmdk said to be raw": ("disk.vmdk", "RAW", "The image is said to be raw, but it is vmdk."),
    "a disk of 1 PiB": (
        "vast",
        "QCOW2",
        f"The image has a virtual size of {2**50} bytes, more than the {MOST} allowed.",
    ),
    "no such file": ("none", "QCOW2", NOT_OPEN),
    "a link out of the directory": ("passwd", "QCOW2", NOT_OPEN),
    "a file elsewhere": ("/etc/passwd", "RAW", NOT_OPEN),
}
UNREACHABLE = {
    "this machine": ("http://127.0.0.1:18181/image", NOT_REACHED.format("127.0.0.1")),
    "the metadata address": ("http://169.254.169.254/image", NOT_REACHED.format("169.254.169.254")),
    "a name that no host has": (f"http://{NO_NAME}/image", f"The host {NO_NAME} could not be resolved: "),
    "the underlay": ("https://192.0.2.11/image", NOT_REACHED.format("192.0.2.11")),
}
WRONG_SUM = "0" * 64


@pytest.fixture(scope="module")
def registered(images, proof):
    """Templates of all bad images, by label; each register call was answered at once."""
    common = {"zoneid": proof.place()["zoneid"], "hypervisor": "KVM"}
    ids = {}
    for label, (name, kind, _) in BAD.items():
        ids[label] = register(proof.root, name=label, url=f"file://{images / name}", format=kind, **common)
    for label, (url, _) in UNREACHABLE.items():
        ids[label] = register(proof.root, name=label, url=url, format="QCOW2", **common)
    good = {"url": f"file://{images / 'good'}", "format": "QCOW2", **common}
    ids["checksum"] = register(proof.root, name="checksum", checksum=WRONG_SUM, **good)
    yield ids
    for template_id in ids.values():
        proof.root.deleteTemplate(id=template_id, fetch_result=True)
    assert proof.root.listTemplates(templatefilter="all", ids=",".join(ids.values())) == {}


def register(client, **parameters):
    return client.registerTemplate(**parameters)["template"][0]["id"]


def failed(proof, template_id):
    """The status of the template once it is known."""

    def told():
        (template,) = proof.root.listTemplates(templatefilter="all", id=template_id)["template"]
        assert not template["isready"]
        return template["status"] if template["status"] not in ("", "Downloading") else None

    return until("the template's status", told, 30)


@pytest.mark.parametrize("label", BAD)
def test_image_is_refused(registered, proof, label):
    assert failed(proof, registered[label]) == BAD[label][2]


@pytest.mark.parametrize("label", UNREACHABLE)
def test_url_is_refused(registered, proof, label):
    assert failed(proof, registered[label]).startswith(UNREACHABLE[label][1])


def test_checksum_is_wrong(registered, proof, images):
    found = hashlib.sha256((images / "good").read_bytes()).hexdigest()
    told = failed(proof, registered["checksum"])
    assert f"is {found}, but {WRONG_SUM} was expected" in told


def test_store_keeps_nothing_of_them(registered, proof, cloud):
    for template_id in registered.values():
        failed(proof, template_id)
    ready = proof.root.listTemplates(templatefilter="all", isready="true")["template"]
    kept = {path.name for path in cloud.site.secondary.iterdir()} - {".staging"}
    assert kept == {template["id"] for template in ready}
    assert not [path for path in (cloud.site.secondary / ".staging").iterdir() if path.is_dir()]


def test_no_vm_is_made_of_them(registered, proof):
    template_id = registered["random bytes"]
    failed(proof, template_id)
    client, network_id = proof.tenants["tenant1"].client, proof.tenants["tenant1"].network["id"]
    code, text = refused(
        proof.root.deployVirtualMachine, **{**proof.place(), "templateid": template_id}, networkids=network_id
    )
    assert (code, text) == (431, f"The template random bytes ({template_id}) is Failed, not Ready.")
    assert client.listVirtualMachines(templateid=proof.place()["templateid"])["count"] == 2


REFUSED = {
    "another scheme": ({"url": "ftp://images.test/a"}, 431, NO_URL.format("ftp://images.test/a")),
    "a password": ({"url": "http://a:b@images.test/a"}, 431, NO_URL.format("http://a:b@images.test/a")),
    "a file of a tenant's": (
        {"url": "file:///etc/passwd"},
        531,
        "Only root administrators register templates from files.",
    ),
    "a checksum that is none": (
        {"url": "http://images.test/a", "checksum": "zz"},
        431,
        "The checksum zz is not a digest in hexadecimal.",
    ),
}


@pytest.mark.parametrize("how", REFUSED)
def test_registration_is_refused_at_once(proof, how):
    parameters, code, text = REFUSED[how]
    common = {"name": "refused", "format": "QCOW2", "hypervisor": "KVM", "zoneid": proof.place()["zoneid"]}
    client = proof.tenants["tenant1"].client
    assert refused(client.registerTemplate, **common, **parameters) == (code, text)
    assert client.listTemplates(templatefilter="self", name="refused") == {}
