"""Certificates with their keys, and the load balancer rules that show them to clients of TLS."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager import access
from manager.api.call import Call
from manager.api.certificate import CheckedCertificate, check_certificate
from manager.api.command import EVERYONE, Given, OwnedRequest, Page, Request, command
from manager.api.commands.load_balancer import TLS, begin_change, start_change, values_of
from manager.api.errors import Invalid
from manager.api.fields import Flag, Ref, Text
from manager.api.response import Many, Response, Shown, Str, SuccessResponse
from manager.api.rows import owners_of
from manager.models import Account, LoadBalancerRule, Project, SslCert, WorkflowRow

LONGEST_PEM = 16384
LONGEST_CHAIN = 2097152


class SslCertResponse(Response):
    object_key = "sslcert"
    shows = SslCert
    id = Str("the certificate's id")
    name = Str("its name")
    certificate = Str("the certificate in PEM")
    certchain = Str("the certificates between it and its root in PEM")
    fingerprint = Str("its SHA-256")
    loadbalancerrulelist = Many("the ids of the load balancer rules that show it")
    account = Str("the account that owns it")
    projectid = Str("the id of the project that owns it, in place of the account")
    project = Str("the project that owns it")
    domainid = Str("the id of the owner's domain")
    domain = Str("the owner's domain")

    @classmethod
    def render(cls, call: Call, rows: Sequence[SslCert]) -> list[Shown]:
        owners, used = owners_of(call, rows), _used(call, [row.id for row in rows])
        return [
            {
                "id": row.id,
                "name": row.name,
                "certificate": row.certificate,
                "certchain": row.chain,
                "fingerprint": row.fingerprint,
                "loadbalancerrulelist": used.get(row.id, []),
                **owners[row.account_id],
            }
            for row in rows
        ]


def _used(call: Call, ids: Sequence[str]) -> dict[Any, list[str]]:
    """By certificate: the ids of the load balancer rules that have it."""
    rule = LoadBalancerRule
    query = select(rule.certificate_id, rule.id).where(rule.certificate_id.in_(ids), rule.removed.is_(None))
    found: dict[Any, list[str]] = {}
    for certificate_id, rule_id in call.session.execute(query.order_by(rule.id)):
        found.setdefault(certificate_id, []).append(rule_id)
    return found


class UploadSslCert(OwnedRequest):
    name = Text("its name", required=True)
    certificate = Text("the certificate in PEM", max_length=LONGEST_PEM, lines=True, required=True)
    privatekey = Text("its private key in PEM", max_length=LONGEST_PEM, lines=True, required=True)
    certchain = Text("the certificates between it and its root in PEM", max_length=LONGEST_CHAIN, lines=True)
    password = Text("the password of the private key")


@command("uploadSslCert", UploadSslCert, SslCertResponse, creates=True, roles=EVERYONE, event="LB.CERT.UPLOAD")
def upload_ssl_cert(call: Call, given: Given) -> SslCert:
    """Store a certificate with its key, for load balancers. The key is never shown again."""
    checked: CheckedCertificate = check_certificate(
        given.certificate, given.privatekey, given.certchain or "", given.password
    )
    certificate = SslCert(
        account_id=call.owner.id,
        name=given.name,
        certificate=checked.certificate,
        chain=checked.chain or None,
        private_key=checked.key,
        fingerprint=checked.fingerprint,
        expires=checked.expires,
    )
    stored: SslCert = call.add(certificate)
    return stored


class OneSslCert(Request):
    id = Ref(SslCert, "the certificate", required=True)


@command("deleteSslCert", OneSslCert, SuccessResponse, roles=EVERYONE, event="LB.CERT.DELETE")
def delete_ssl_cert(call: Call, id: SslCert) -> bool:
    """Forget a certificate and its key; none that a load balancer rule has."""
    call.session.refresh(id, with_for_update=True)
    used = _used(call, [id.id]).get(id.id, [])
    if used:
        raise Invalid(f"The certificate {id.name} is that of the load balancer rules {', '.join(used)}.")
    id.remove()
    id.private_key = ""
    return True


class ListSslCerts(Request):
    certid = Ref(SslCert, "only this certificate")
    accountid = Ref(Account, "those of this account", right="use")
    lbruleid = Ref(LoadBalancerRule, "that of this load balancer rule")
    projectid = Ref(Project, "those of this project", right="use")


@command("listSslCerts", ListSslCerts, SslCertResponse, roles=EVERYONE)
def list_ssl_certs(call: Call, given: Given) -> Page:
    """List certificates: by default those of the caller's account."""
    query = select(SslCert).where(access.reach(call, SslCert, access.READ), SslCert.removed.is_(None))
    if given.certid is not None:
        query = query.where(SslCert.id == given.certid.id)
    elif given.lbruleid is not None:
        query = query.where(SslCert.id == given.lbruleid.certificate_id)
    else:
        owner_id = given.accountid.id if given.accountid is not None else call.account.id
        query = query.where(SslCert.account_id == (given.projectid.account_id if given.projectid else owner_id))
    return call.paged(query.order_by(SslCert.created, SslCert.id))


class AssignCert(Request):
    lbruleid = Ref(LoadBalancerRule, "the load balancer rule, of the protocol ssl", right="manage", required=True)
    certid = Ref(SslCert, "the certificate", required=True)
    forced = Flag("take the place of the certificate that the rule has", default=False)


@command("assignCertToLoadBalancer", AssignCert, SuccessResponse, is_async=True, roles=EVERYONE,
         event="LB.CERT.ASSIGN")  # fmt: skip
def assign_cert_to_load_balancer(call: Call, lbruleid: LoadBalancerRule, certid: SslCert, forced: bool) -> WorkflowRow:
    """Have a load balancer rule of the protocol ssl show a certificate; it listens from then on."""
    rule, certificate = lbruleid, certid
    call.subject = rule
    revision = begin_change(call, rule)
    # Held until the transaction ends, so that it is not deleted meanwhile.
    call.session.refresh(certificate, with_for_update=True)
    if certificate.removed is not None:
        raise Invalid(f"The certificate {certificate.name} has been deleted.")
    if certificate.account_id != rule.account_id:
        raise Invalid(f"The certificate {certificate.name} and the rule {rule.name} do not belong to one account.")
    if rule.balanced_protocol != TLS:
        raise Invalid(f"The rule {rule.name} is of the protocol {rule.balanced_protocol}; certificates are for {TLS}.")
    if certificate.expires <= dt.datetime.now(dt.UTC):
        raise Invalid(f"The certificate {certificate.name} has expired on {certificate.expires:%Y-%m-%d}.")
    if rule.certificate_id is not None and not forced:
        raise Invalid(f"The rule {rule.name} has a certificate already; with forced another one takes its place.")
    before = values_of(rule)
    rule.certificate_id = certificate.id
    return start_change(call, rule, revision, before)


class RemoveCert(Request):
    lbruleid = Ref(LoadBalancerRule, "the load balancer rule", right="manage", required=True)


@command("removeCertFromLoadBalancer", RemoveCert, SuccessResponse, is_async=True, roles=EVERYONE,
         event="LB.CERT.REMOVE")  # fmt: skip
def remove_cert_from_load_balancer(call: Call, lbruleid: LoadBalancerRule) -> WorkflowRow:
    """Take its certificate from a load balancer rule, which does not listen without."""
    rule = lbruleid
    call.subject = rule
    revision = begin_change(call, rule)
    if rule.certificate_id is None:
        raise Invalid(f"The rule {rule.name} has no certificate.")
    before = values_of(rule)
    rule.certificate_id = None
    return start_change(call, rule, revision, before)
