"""Access to the guest of a VM: what it wrote to its console, its password and its SSH keys."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from manager.api.call import Call
from manager.api.command import EVERYONE, Request, command
from manager.api.commands.job_hold import hold_stopped
from manager.api.commands.vm_deploy import new_password, public_keys
from manager.api.commands.vm_response import DeployedVmResponse
from manager.api.errors import Invalid
from manager.api.fields import ListOf, Ref, Text
from manager.api.response import Response, Shown, Str
from manager.models import Account, Template, Vm, WorkflowRow
from manager.workflows.vm import read_console

_PASSWORD = re.compile(r"[!-~]{6,128}")


class ConsoleOutputResponse(Response):
    """The output lies in the memory of the job that read it."""

    object_key = "consoleoutput"
    shows = WorkflowRow
    virtualmachineid = Str("the virtual machine's id")
    output = Str("the last that the guest wrote to its serial console, as text")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Any]) -> list[Shown]:
        return [{"virtualmachineid": row.subject_id, "output": row.memory.get("output", "")} for row in rows]


class GetConsoleOutput(Request):
    id = Ref(Vm, "the VM", required=True, right="manage")


@command("getConsoleOutput", GetConsoleOutput, ConsoleOutputResponse, is_async=True, roles=EVERYONE)
def get_console_output(call: Call, id: Vm) -> WorkflowRow:
    """Read the last 64 KiB that the guest of a VM wrote to its serial console."""
    if id.host_id is None and id.last_host_id is None:
        raise Invalid(f"The virtual machine {id.id} has never run, so it has no console output.")
    job = read_console.start(call.session, id, call=call)
    job.memory = {"result_id": job.id}
    return job


class VmPasswordResponse(Response):
    object_key = "password"
    encryptedpassword = Str("the password under the RSA key of the VM's key pair (PKCS 1, version 1.5), in base64")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Shown]) -> list[Shown]:
        return list(rows)


class GetVmPassword(Request):
    id = Ref(Vm, "the VM", required=True, right="manage")


@command("getVMPassword", GetVmPassword, VmPasswordResponse, roles=EVERYONE)
def get_vm_password(_call: Call, id: Vm) -> Shown:
    """Give the password of a VM, encrypted for the holder of its RSA key pair."""
    if id.password is None:
        raise Invalid(f"The virtual machine {id.id} has no password: its template sets none.")
    sealed = _rsa_key(id).encrypt(id.password.encode(), padding.PKCS1v15())
    return {"password": {"encryptedpassword": base64.b64encode(sealed).decode()}}


def _rsa_key(vm: Vm) -> rsa.RSAPublicKey:
    for line in vm.public_keys.splitlines():
        if not line.startswith("ssh-rsa "):
            continue
        try:
            key = load_ssh_public_key(line.encode())
        except (ValueError, UnsupportedAlgorithm):
            continue
        if isinstance(key, rsa.RSAPublicKey):
            return key
    held = f"its key pairs ({', '.join(vm.key_pairs)}) are of other kinds" if vm.key_pairs else "it has no key pair"
    raise Invalid(f"The password of the virtual machine {vm.id} can be encrypted only for an RSA key pair; {held}.")


class ResetPassword(Request):
    id = Ref(Vm, "the VM, which is Stopped", required=True)
    password = Text("the new password; one is made when absent")


@command(
    "resetPasswordForVirtualMachine",
    ResetPassword,
    DeployedVmResponse,
    is_async=True,
    roles=EVERYONE,
    event="VM.RESETPASSWORD",
)
def reset_password(call: Call, id: Vm, password: str | None) -> WorkflowRow:
    """Set a new password for a Stopped VM; the guest takes it at its next start."""
    template = call.session.get_one(Template, id.template_id)
    if not template.password_enabled:
        raise Invalid(f"The template {template.name} of the virtual machine {id.id} sets no password.")
    hold_stopped(call, id, "to get another password")
    id.password = checked_password(password) if password else new_password(call)
    call.flush()
    return call.job_done(id)


def checked_password(password: str) -> str:
    """:raises Invalid: the guest could not be given it by the password server, which speaks in lines of text"""
    if not _PASSWORD.fullmatch(password):
        raise Invalid("A password has 6 to 128 printable ASCII characters, without spaces.")
    return password


class ResetSshKey(Request):
    id = Ref(Vm, "the VM, which is Stopped", required=True)
    keypair = Text("the name of an SSH key pair of the VM's account")
    keypairs = ListOf(Text(""), "names of such key pairs", most=16)


@command(
    "resetSSHKeyForVirtualMachine",
    ResetSshKey,
    DeployedVmResponse,
    is_async=True,
    roles=EVERYONE,
    event="VM.RESETSSHKEY",
)
def reset_ssh_key(call: Call, id: Vm, keypair: str | None, keypairs: list[str] | None) -> WorkflowRow:
    """Give a Stopped VM other SSH key pairs, and a new password if its template sets one, at its next start."""
    owner = call.session.get_one(Account, id.account_id)
    keys = public_keys(call, owner, keypair, keypairs)
    if not keys:
        raise Invalid("Either keypair or keypairs must name the key pairs.")
    hold_stopped(call, id, "to get other key pairs")
    id.key_pairs, id.public_keys = list(keys), "\n".join(keys.values())
    if call.session.get_one(Template, id.template_id).password_enabled:
        id.password = new_password(call)
    call.flush()
    return call.job_done(id)
