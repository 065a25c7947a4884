"""X.509 as a site needs it: an authority, requests, certificates for one purpose each, revocation lists.

Values in, PEM out; no file is touched here. Keys are of the curve P-256, which every TLS library has.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioning.errors import AuthorityError

AUTHORITY_DAYS = 20 * 365
EARLY = timedelta(days=1)
"""A certificate holds from a day before it is made: a device's clock may be behind."""

Key = ec.EllipticCurvePrivateKey


class Role(str, Enum):
    """What a member of the site is; its certificate is good for nothing else."""

    BROKER = "broker"
    DEVICE = "device"
    RENDERER = "renderer"
    OPERATOR = "operator"


DAYS = {Role.BROKER: 5 * 365, Role.DEVICE: 5 * 365, Role.RENDERER: 5 * 365, Role.OPERATOR: 365}
"""How long a certificate holds. Nobody stands beside a booth, so that of a device holds long and is revoked at need."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate names: the user that the broker takes from it, and for a broker the hosts it may be."""

    role: Role
    user: str
    unit: str = ""  # which person, where a user stands for several
    hosts: tuple[str, ...] = ()


def new_key() -> Key:
    """Return a fresh private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Key) -> bytes:
    """Return a private key as unencrypted PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_key(pem: bytes) -> Key:
    """Return the private key of a PEM file; ``AuthorityError`` where it is none of ours."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise AuthorityError(f"not a private key in PEM without a passphrase: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityError("the private key must be of an elliptic curve; delete its file to have one made")
    return key


def make_request(key: Key, user: str) -> bytes:
    """Return a certificate signing request, PEM, for a user; the authority decides what it is good for."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(user))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make_authority(key: Key, name: str) -> bytes:
    """Return the self-signed certificate, PEM, of an authority that signs members and nothing else."""
    now = datetime.now(timezone.utc)
    public = key.public_key()
    builder = (
        _begun(_name(name), now, AUTHORITY_DAYS)
        .issuer_name(_name(name))
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_members=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def sign(request: bytes, subject: Subject, authority: bytes, key: Key, days: float) -> bytes:
    """Return the certificate, PEM, that an authority gives to the holder of the request's key.

    Whatever the request asks for beyond its key is passed over, but for its name, which must be the subject's.
    """
    asked = _checked(request, subject.user)
    issuer = x509.load_pem_x509_certificate(authority)
    now = datetime.now(timezone.utc)
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if subject.role is Role.BROKER else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _begun(_name(subject.user, subject.unit), now, days)
        .issuer_name(issuer.subject)
        .public_key(asked.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_members=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(asked.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    if subject.hosts:
        names = x509.SubjectAlternativeName([_host(host) for host in subject.hosts])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def revocation_list(authority: bytes, key: Key, revoked: Mapping[int, datetime]) -> bytes:
    """Return the list, PEM, of an authority's revoked serial numbers and since when.

    It holds as long as the authority: a broker with an expired list lets nobody in, and nobody would know why.
    """
    issuer = x509.load_pem_x509_certificate(authority)
    now = datetime.now(timezone.utc)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    builder = builder.last_update(now - EARLY).next_update(issuer.not_valid_after_utc)
    for serial, since in revoked.items():
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since).build()
        builder = builder.add_revoked_certificate(entry)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    ).add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def serial_of(certificate: bytes) -> int:
    """Return a certificate's serial number."""
    return x509.load_pem_x509_certificate(certificate).serial_number


def ends_utc(certificate: bytes) -> datetime:
    """Return when a certificate stops to hold."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def fingerprint(pem: bytes) -> str:
    """Return what two people can compare by telephone: 8 groups of 4 digits of the public key's SHA-256.

    ``pem`` is a request or a certificate; both of one key have the same fingerprint. 128 bits are enough, since
    whoever wants to deceive must find a second key for a fingerprint that is already known.
    """
    try:
        if b"CERTIFICATE REQUEST" in pem:
            public = x509.load_pem_x509_csr(pem).public_key()
        else:
            public = x509.load_pem_x509_certificate(pem).public_key()
    except ValueError as error:
        raise AuthorityError(f"neither a certificate nor a request in PEM: {error}") from None
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(spki)
    digits = digest.finalize().hex()[:32]
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def _checked(request: bytes, user: str) -> x509.CertificateSigningRequest:
    try:
        asked = x509.load_pem_x509_csr(request)
        own = asked.is_signature_valid
    except ValueError as error:
        raise AuthorityError(f"not a certificate signing request in PEM: {error}") from None
    if not own:
        raise AuthorityError("the request is not signed by its own key: it was changed on its way")
    names = [str(part.value) for part in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [user]:
        raise AuthorityError(f"the request must be of {user!r}, it is of {', '.join(names) or 'nobody'}")
    return asked


def _begun(subject: x509.Name, now: datetime, days: float) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - EARLY).not_valid_after(now + timedelta(days=days))


def _name(common: str, unit: str = "") -> x509.Name:
    if not 1 <= len(common) <= 64:
        raise AuthorityError(f"a name in a certificate has 1 to 64 characters, got {len(common)}: {common!r}")
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    return x509.Name(parts + ([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []))


def _usage(signs_members: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_members,
        key_cert_sign=signs_members,
        crl_sign=signs_members,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
