"""Certificates of load balancer rules through the API."""

from __future__ import annotations

import subprocess

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from sqlalchemy import text

from manager.models import EventRow, SslCert
from tests.client import Caller, Refused
from tests.unit.api.test_load_balancers import balance, balancer_of
from tests.unit.api.test_load_balancers import site as a_site
from tests.unit.api.test_public_addresses import done, running  # noqa: F401 - running is a fixture
from tests.unit.network.balancers import issue, key_pem, pem

site = a_site
ROOT = issue("root", ca=True)
BETWEEN = issue("between", ROOT, ca=True)
OWN, KEY = issue("www.example", BETWEEN)
GIVEN = {"name": "web", "certificate": pem(OWN), "privatekey": key_pem(KEY)}


@pytest.fixture
def certificate(api, site):
    _, user, _, _ = site
    return api("uploadSslCert", user, **GIVEN, certchain=pem(BETWEEN[0]))["sslcert"]


@pytest.fixture
def rule(api, site):
    cloud, user, address, _ = site
    return done(api, cloud, balance(api, user, address, publicport=443, protocol="ssl"), user)["loadbalancer"]


def test_a_certificate_is_stored_listed_and_deleted(api, factory, site, certificate):
    _, user, _, _ = site
    assert api("listSslCerts", user) == {"count": 1, "sslcert": [certificate]}
    assert certificate["fingerprint"] == OWN.fingerprint(hashes.SHA256()).hex(":").upper()
    assert (certificate["name"], certificate["certificate"]) == ("web", pem(OWN))
    assert (certificate["certchain"], certificate["loadbalancerrulelist"]) == (pem(BETWEEN[0]), [])
    assert "PRIVATE" not in str(certificate)
    with factory.engine.connect() as connection:
        assert "PRIVATE" not in connection.scalar(text("SELECT private_key FROM ssl_certs"))
    events = api("listEvents", user, type="LB.CERT.UPLOAD", details=True)
    assert "PRIVATE" not in str(events)
    assert "PRIVATE" not in str(factory.first(EventRow, type="LB.CERT.UPLOAD").__dict__)
    assert api("listSslCerts", user, certid=certificate["id"])["count"] == 1
    assert api("deleteSslCert", user, id=certificate["id"]) == {"success": True}
    assert api("listSslCerts", user) == {}
    assert factory.first(SslCert).private_key == ""


def test_a_chain_in_any_order_and_a_key_with_a_password(api, site):
    _, user, _, _ = site
    sealed = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")).decode()
    given = {**GIVEN, "privatekey": sealed, "certchain": pem(ROOT[0]) + pem(BETWEEN[0])}
    shown = api("uploadSslCert", user, **given, password="word")["sslcert"]
    assert shown["certchain"] == pem(BETWEEN[0]) + pem(ROOT[0])
    for more, reason in (
        ({}, "has a password, which is not given"),
        ({"password": "x"}, "not a key in PEM, or the pa"),
    ):
        with pytest.raises(Refused, match=rf"431 .*{reason}"):
            api("uploadSslCert", user, **given, **more)


WEAK_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is to be refused


def other(**options):
    certificate, key = issue("www.example", **options)
    return {"certificate": pem(certificate), "privatekey": key_pem(key)}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"certificate": "x"}, "The certificate is not a certificate in PEM"),
        ({"certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, "not a certificate in PEM"),
        ({"certificate": pem(OWN) + pem(BETWEEN[0])}, "holds 2 certificates; those of its issuers belong into certch"),
        ({"privatekey": "x"}, "The privatekey is not a key in PEM"),
        ({"password": "x"}, "The privatekey has no password, and one is given"),
        ({"privatekey": other()["privatekey"]}, "The certificate and the privatekey are not of one pair"),
        ({"certchain": pem(ROOT[0])}, "holds CN=root, which is not in the line of the certificate's issuers"),
        ({"certchain": pem(issue("stranger", ca=True)[0])}, "holds CN=stranger, which is not in the line"),
        ({"certchain": "x"}, "The certchain is not a certificate in PEM"),
        (other(days=-1), "The certificate has expired on"),
        (other(key=WEAK_KEY), "an RSA key of 1024 bits; it must have 2048 to 8192"),
        (other(key=ec.generate_private_key(ec.SECP256K1())), "on the curve secp256k1; it must be one of secp256r1"),
        (other(key=dsa.generate_private_key(2048)), "neither of RSA nor of an elliptic curve"),
    ],
)
def test_what_cannot_be_shown_to_clients_is_refused(api, site, given, reason):
    _, user, _, _ = site
    with pytest.raises(Refused, match=rf"431 .*{reason}"):
        api("uploadSslCert", user, **{**GIVEN, **given})
    assert api("listSslCerts", user) == {}


def test_a_certificate_with_a_forgeable_signature_is_refused(api, site, tmp_path):
    _, user, _, _ = site
    (tmp_path / "root.pem").write_text(pem(ROOT[0]) + key_pem(ROOT[1]))
    (tmp_path / "key.pem").write_text(key_pem(KEY))
    request = ("openssl", "req", "-new", "-key", "key.pem", "-subj", "/CN=www.example", "-out", "request.pem")
    sign = ("openssl", "x509", "-req", "-sha1", "-in", "request.pem", "-CA", "root.pem", "-CAcreateserial")
    subprocess.run(request, cwd=tmp_path, check=True, capture_output=True)
    signed = subprocess.run(sign, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    with pytest.raises(Refused, match=r"431 The certificate CN=www.example is signed with sha1, which is forged too"):
        api("uploadSslCert", user, **{**GIVEN, "certificate": signed})


def test_a_rule_listens_with_its_certificate(api, site, rule, certificate):
    cloud, user, _, _ = site
    assert not balancer_of(cloud).listens
    answer = api("assignCertToLoadBalancer", user, lbruleid=rule["id"], certid=certificate["id"])
    assert done(api, cloud, answer, user) == {"success": True}
    held = balancer_of(cloud).certificate
    assert (held.id, held.certificate, held.chain) == (certificate["id"], pem(OWN), pem(BETWEEN[0]))
    assert held.key.startswith("-----BEGIN PRIVATE KEY-----")
    (shown,) = api("listSslCerts", user, lbruleid=rule["id"])["sslcert"]
    assert (shown["id"], shown["loadbalancerrulelist"]) == (certificate["id"], [rule["id"]])
    with pytest.raises(Refused, match=rf"431 The certificate web is that of the load balancer rules {rule['id']}"):
        api("deleteSslCert", user, id=certificate["id"])
    with pytest.raises(Refused, match=r"431 The rule web has a certificate, which is for ssl"):
        api("updateLoadBalancerRule", user, id=rule["id"], protocol="tcp")
    second = api("uploadSslCert", user, name="second", **other())["sslcert"]
    given = {"lbruleid": rule["id"], "certid": second["id"]}
    with pytest.raises(Refused, match=r"431 The rule web has a certificate already; with forced another one"):
        api("assignCertToLoadBalancer", user, **given)
    done(api, cloud, api("assignCertToLoadBalancer", user, **given, forced=True), user)
    assert balancer_of(cloud).certificate.id == second["id"]
    done(api, cloud, api("removeCertFromLoadBalancer", user, lbruleid=rule["id"]), user)
    assert not balancer_of(cloud).listens
    with pytest.raises(Refused, match=r"431 The rule web has no certificate"):
        api("removeCertFromLoadBalancer", user, lbruleid=rule["id"])
    assert api("deleteSslCert", user, id=second["id"]) == {"success": True}


def test_certificates_that_cannot_be_assigned(api, factory, site, rule, certificate):
    cloud, user, address, _ = site
    plain = done(api, cloud, balance(api, user, address, name="plain"), user)["loadbalancer"]
    with pytest.raises(Refused, match=r"431 The rule plain is of the protocol tcp; certificates are for ssl"):
        api("assignCertToLoadBalancer", user, lbruleid=plain["id"], certid=certificate["id"])
    foreign = api("uploadSslCert", **GIVEN)["sslcert"]
    with pytest.raises(Refused, match=r"431 .*due to incorrect long value format"):
        api("assignCertToLoadBalancer", user, lbruleid=rule["id"], certid=foreign["id"])
    with pytest.raises(Refused, match=r"431 The certificate web and the rule web do not belong to one account"):
        api("assignCertToLoadBalancer", lbruleid=rule["id"], certid=foreign["id"])
    row = factory.first(SslCert, id=certificate["id"])
    factory.change(row, expires=row.created)
    with pytest.raises(Refused, match=r"431 The certificate web has expired on"):
        api("assignCertToLoadBalancer", user, lbruleid=rule["id"], certid=certificate["id"])


def test_certificates_of_others_are_not_there(api, factory, site, certificate):
    stranger = Caller.of(factory.engine, factory.user("stranger").username)
    assert api("listSslCerts", stranger) == {}
    for command, given in (("deleteSslCert", {"id": certificate["id"]}),):
        with pytest.raises(Refused, match=r"431 .*due to incorrect long value format"):
            api(command, stranger, **given)
