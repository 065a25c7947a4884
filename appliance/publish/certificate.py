"""Whom our certificate names, in words that two people can compare by telephone."""

from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from appliance.errors import ConfigError
from appliance.publish.credentials import loaded
from appliance.settings import Broker

_DIGITS, _GROUP = 32, 4


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of its owner."""

    user: str  # as the broker knows it: SITE/DEVICE of a device
    fingerprint: str  # of its public key, as the site's authority lists it
    ends_utc_s: float  # when it stops to hold, seconds since the Unix epoch


def own(broker: Broker) -> Certificate | None:
    """Read the certificate that the settings name; ``None`` where they name none, ``ConfigError`` if it is none."""
    if not broker.cert_file:
        return None
    path = loaded(broker.cert_file)
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"broker.cert_file {path} cannot be read: {error.strerror}; it is root's: use sudo") from None
    except ValueError as error:
        raise ConfigError(f"broker.cert_file {path} must be a certificate in PEM: {error}; enrol anew") from None
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        str(names[0].value) if names else "",
        fingerprint(certificate),
        certificate.not_valid_after_utc.timestamp(),
    )


def fingerprint(certificate: x509.Certificate) -> str:
    """Return 8 groups of 4 digits: half of the SHA-256 of the public key (RFC 5280's SubjectPublicKeyInfo)."""
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digits = sha256(public).hexdigest()[:_DIGITS]
    return " ".join(digits[start : start + _GROUP] for start in range(0, _DIGITS, _GROUP))
