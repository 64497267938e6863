"""Certificates as they are uploaded: whether certificate, key and chain fit together and a balancer can show them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from manager.api.errors import Invalid

LEAST_RSA_BITS, MOST_RSA_BITS = 2048, 8192
CURVES = ("secp256r1", "secp384r1", "secp521r1")
WEAK = (hashes.MD5, hashes.SHA1)
MOST_IN_CHAIN = 10


@dataclass(frozen=True)
class CheckedCertificate:
    """PEM texts: the chain goes from the certificate towards its root, the key is PKCS #8 without a password."""

    certificate: str
    chain: str
    key: str
    fingerprint: str
    expires: dt.datetime


def check_certificate(certificate: str, key: str, chain: str, password: str | None) -> CheckedCertificate:
    """The certificate in the form that it is kept in.

    :raises Invalid: one of them cannot be read, is too weak or out of time, or they do not belong together
    """
    own = _certificates("certificate", certificate)
    if len(own) != 1:
        raise Invalid(f"The certificate holds {len(own)} certificates; those of its issuers belong into certchain.")
    private = _key(key, password)
    public = [one.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
              for one in (own[0].public_key(), private.public_key())]  # fmt: skip
    if public[0] != public[1]:
        raise Invalid("The certificate and the privatekey are not of one pair.")
    _check_time(own[0])
    issuers = _in_order(own[0], _certificates("certchain", chain) if chain.strip() else [])
    return CheckedCertificate(
        _pem(own[0]),
        "".join(_pem(one) for one in issuers),
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        own[0].fingerprint(hashes.SHA256()).hex(":").upper(),
        own[0].not_valid_after_utc.replace(microsecond=0),
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _certificates(name: str, text: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        for one in found:
            # Its parts are read when they are asked for; what cannot be read shall be told now.
            _ = (one.subject, one.issuer, one.extensions)
            _check_strength(name, one)
    except (ValueError, x509.DuplicateExtension) as error:
        raise Invalid(f"The {name} is not a certificate in PEM: {error}.") from error
    return found


def _check_strength(name: str, one: x509.Certificate) -> None:
    public = one.public_key()
    _check_key(name, public)
    is_root = one.issuer == one.subject
    if isinstance(one.signature_hash_algorithm, WEAK) and not is_root:
        raise Invalid(f"The {name} {one.subject.rfc4514_string()} is signed with {one.signature_hash_algorithm.name}, "
                      "which is forged too easily; SHA-256 or better is wanted.")  # fmt: skip


def _check_key(name: str, key: object) -> None:
    """:raises Invalid: clients, or the balancer, would refuse it"""
    match key:
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey():
            if not LEAST_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
                raise Invalid(f"The {name} has an RSA key of {key.key_size} bits; it must have {LEAST_RSA_BITS} to "
                              f"{MOST_RSA_BITS}.")  # fmt: skip
        case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey():
            if key.curve.name not in CURVES:
                raise Invalid(f"The {name} is on the curve {key.curve.name}; it must be one of {', '.join(CURVES)}.")
        case _:
            raise Invalid(f"The {name} is neither of RSA nor of an elliptic curve.")


def _key(text: str, password: str | None) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(text.encode(), password.encode() if password else None)
    except TypeError as error:
        reason = "has a password, which is not given" if not password else "has no password, and one is given"
        raise Invalid(f"The privatekey {reason}.") from error
    except ValueError as error:
        raise Invalid("The privatekey is not a key in PEM, or the password is not its own.") from error
    _check_key("privatekey", key)
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise Invalid("The privatekey is neither of RSA nor of an elliptic curve.")
    return key


def _check_time(one: x509.Certificate) -> None:
    now = dt.datetime.now(dt.UTC)
    if now >= one.not_valid_after_utc:
        raise Invalid(f"The certificate has expired on {one.not_valid_after_utc:%Y-%m-%d}.")
    if now < one.not_valid_before_utc:
        raise Invalid(f"The certificate is valid from {one.not_valid_before_utc:%Y-%m-%d} on only.")


def _in_order(own: x509.Certificate, given: list[x509.Certificate]) -> list[x509.Certificate]:
    """Each issued by the next.

    :raises Invalid: one of them does not belong to the chain
    """
    if len(given) > MOST_IN_CHAIN:
        raise Invalid(f"The certchain holds {len(given)} certificates; it can hold {MOST_IN_CHAIN}.")
    found, left = [own], list(given)
    while left:
        issuer = next((one for one in left if _has_issued(one, found[-1])), None)
        if issuer is None:
            name = left[0].subject.rfc4514_string()
            raise Invalid(f"The certchain holds {name}, which is not in the line of the certificate's issuers.")
        found.append(issuer)
        left.remove(issuer)
    return found[1:]


def _has_issued(issuer: x509.Certificate, one: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
