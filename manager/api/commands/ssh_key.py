"""SSH key pairs: public keys that an account's virtual machines may be deployed with."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlalchemy import select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, OwnedRequest, Page, command
from manager.api.errors import Invalid
from manager.api.fields import Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.api.rows import owners_of
from manager.models import SshKeyPair

KEY_BITS = 2048
KEY_KINDS = frozenset(
    {"ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
     "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"}
)  # fmt: skip


class SshKeyPairResponse(Response):
    object_key = "sshkeypair"
    shows = SshKeyPair
    id = Str("the key pair's id")
    name = Str("its name")
    fingerprint = Str("MD5 of the public key")
    account = Str("the account that owns it")
    projectid = Str("the id of the project that owns it, in place of the account")
    project = Str("the project that owns it")
    domainid = Str("the id of the owner's domain")
    domain = Str("the owner's domain")

    @classmethod
    def render(cls, call: Call, rows: Sequence[SshKeyPair]) -> list[Shown]:
        owners = owners_of(call, rows)
        return [
            {"id": row.id, "name": row.name, "fingerprint": row.fingerprint, **owners[row.account_id]} for row in rows
        ]


class CreateSshKeyPairResponse(SshKeyPairResponse):
    object_key = "keypair"
    privatekey = Str("the private key in PEM, which is shown this once")


class ListSshKeyPairs(AccountListRequest):
    id = Ref(SshKeyPair, "only this key pair")
    name = Text("only the key pair of this name")
    fingerprint = Text("only key pairs of this fingerprint")


class RegisterSshKeyPair(OwnedRequest):
    name = Text("its name, new in the account", required=True)
    publickey = Text("the public key in OpenSSH's form", max_length=5120, lines=True, required=True)


class CreateSshKeyPair(OwnedRequest):
    name = Text("its name, new in the account", required=True)


class DeleteSshKeyPair(OwnedRequest):
    name = Text("the key pair's name", required=True)


@command("listSSHKeyPairs", ListSshKeyPairs, SshKeyPairResponse, roles=EVERYONE)
def list_ssh_key_pairs(call: Call, **filters: Any) -> Page:
    """List SSH key pairs."""
    query = select(SshKeyPair).where(access.visible(call, SshKeyPair))
    if filters["id"] is not None:
        query = query.where(SshKeyPair.id == filters["id"].id)
    if filters["name"] is not None:
        query = query.where(SshKeyPair.name == filters["name"])
    if filters["fingerprint"] is not None:
        query = query.where(SshKeyPair.fingerprint == filters["fingerprint"])
    if filters["keyword"]:
        query = query.where(SshKeyPair.name.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(SshKeyPair.name, SshKeyPair.id))


@command(
    "registerSSHKeyPair",
    RegisterSshKeyPair,
    SshKeyPairResponse,
    creates=True,
    roles=EVERYONE,
    event="REGISTER.SSH.KEYPAIR",
    object_key="keypair",
)
def register_ssh_key_pair(call: Call, name: str, publickey: str) -> SshKeyPair:
    """Store a public key under a name."""
    key = " ".join(publickey.split())
    return _store(call, name, key, fingerprint(key))


@command(
    "createSSHKeyPair",
    CreateSshKeyPair,
    CreateSshKeyPairResponse,
    creates=True,
    roles=EVERYONE,
    event="REGISTER.SSH.KEYPAIR",
)
def create_ssh_key_pair(call: Call, name: str) -> dict[str, Any]:
    """Make a key pair, store its public key, and give the private key this once."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    call.subject = _store(call, name, public, fingerprint(public))
    (shown,) = SshKeyPairResponse.shown(call, [call.subject])
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    return {"keypair": {**shown, "privatekey": pem}}


@command("deleteSSHKeyPair", DeleteSshKeyPair, SuccessResponse, roles=EVERYONE, event="SSH.KEYPAIR.DELETE")
def delete_ssh_key_pair(call: Call, name: str) -> bool:
    """Remove a key pair; virtual machines that have it keep it."""
    query = select(SshKeyPair).where(SshKeyPair.account_id == call.owner.id, SshKeyPair.name == name)
    pair = call.session.scalar(query.where(SshKeyPair.removed.is_(None)))
    if pair is None:
        raise Invalid(f"The account {call.owner.name} has no SSH key pair {name}.")
    pair.remove()
    call.subject = pair
    return True


def fingerprint(key: str) -> str:
    """MD5 of an OpenSSH public key, as 16 pairs of hex digits.

    :raises Invalid: it is not one
    """
    kind, _, rest = key.partition(" ")
    try:
        blob = base64.b64decode(rest.split(" ")[0], validate=True)
    except ValueError:
        blob = b""
    if kind not in KEY_KINDS or not blob.startswith(len(kind).to_bytes(4, "big") + kind.encode()):
        raise Invalid("The public key is not one in OpenSSH's form, such as 'ssh-ed25519 AAAA... comment'.")
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def _store(call: Call, name: str, key: str, mark: str) -> SshKeyPair:
    owner = call.owner
    pair = SshKeyPair(
        account_id=owner.id, name=name, fingerprint=mark, public_key=key, live=f"{owner.id}/{name.lower()}"
    )
    taken = f"The account {owner.name} has an SSH key pair {name} already."
    stored: SshKeyPair = call.add(pair, taken=taken)
    return stored
