"""Certificates that routers prove themselves by to people who come by a VPN."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_BITS = 2048
VALID_DAYS = 3650
CLOCK_SKEW = dt.timedelta(days=1)


@dataclass(frozen=True)
class Proof:
    """In PEM: a router's certificate and its private key, and the certificate of the authority that signed it."""

    certificate: str
    private_key: str
    authority: str


def prove(address: str, name: str) -> Proof:
    """For a router at the public `address`, by an authority that is called `name`.

    The authority's private key is used this once and kept by nobody, so that nothing else can be signed by it.
    """
    authority_key, key = _key(), _key()
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    authority = (
        _builder(issuer, issuer, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(authority_key, SHA256())
    )
    names = [x509.IPAddress(IPv4Address(address)), x509.DNSName(address)]
    certificate = (
        _builder(subject, issuer, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    shown = [one.public_bytes(Encoding.PEM).decode() for one in (certificate, authority)]
    return Proof(shown[0], pem, shown[1])


def der_of(pem: str) -> str:
    """The one object of a PEM text, as base64 of DER."""
    return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _builder(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
