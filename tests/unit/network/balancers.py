"""Wanted load balancers and certificates that the tests of this folder use."""

from __future__ import annotations

import datetime as dt
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from network.balancing import Balancer, Certificate, Member

NOW = dt.datetime.now(dt.UTC)


def balancer(address: str, guests: str = "12", **options) -> Balancer:
    """Port 8000 of `address`, spread over port 8080 of the guests of these numbers."""
    members = tuple(Member(f"member-{number}", f"10.1.1.1{number}") for number in guests)
    return Balancer(**{"id": "balancer-1", "address": address, "port": 8000, "member_port": 8080, "members": members,
                       **options})  # fmt: skip


def issue(name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None, **options):
    """A certificate and its key; of its own issue without an issuer. `days` is how long it is valid."""
    key = options.get("key") or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = NOW + dt.timedelta(days=options.get("days", 30))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=60))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=options.get("ca", False), path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return builder.sign(issuer[1] if issuer else key, options.get("digest", hashes.SHA256())), key


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def key_pem(key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def web_certificate() -> tuple[Certificate, str]:
    """The certificate of www.example by an authority between, and the root's PEM."""
    root = issue("root", ca=True)
    between = issue("between", root, ca=True)
    own, key = issue("www.example", between)
    return Certificate("certificate-1", pem(own), key_pem(key), pem(between[0])), pem(root[0])
