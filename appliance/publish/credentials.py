"""Who we are to the broker, and whom we trust: user name, password, certificates."""

import logging
import os
import re
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ConfigError
from appliance.settings import Broker

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the secret files held; ``None`` where the settings name none."""

    username: str | None
    password: str | None
    tls: ssl.SSLContext | None


def reason_of(error: Exception) -> str:
    """Return what an operator needs of an error of the network or of a file."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); see broker.ca_file, the name in url, the clock"
        )
    reason = str(error.strerror or error) if isinstance(error, OSError) else str(error)
    return alert_of(reason) or reason


def alert_of(text: str) -> str:
    """Return what a broker has against our certificate, and the cure, from the text of an error; empty if nothing."""
    found = re.search(r"alert (.*(?:certificate|ca)\b[a-z ]*)", text)
    return f"{found.group(1).strip()}; see broker.cert_file, broker.key_file and the clock" if found else ""


def read_credentials(broker: Broker) -> Credentials:
    """Read the files that the settings name; ``ConfigError`` says which one cannot be used."""
    username = _read_secret("username_file", broker.username_file, private=False)
    password = _read_secret("password_file", broker.password_file, private=True)
    if password is not None and username is None:
        raise ConfigError("broker.password_file needs broker.username_file: MQTT has no password without a user name")
    return Credentials(username, password, _tls_context(broker) if broker.tls else None)


def loaded(name: str) -> Path:
    """Return where to read a secret file: what systemd loaded under its name, or the file itself.

    A unit's ``LoadCredential=`` puts files of root where the service alone can read them, see systemd.exec(5).
    A blank one stands for a file that is not there.
    """
    path = Path(name).expanduser()
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(folder) / path.name if folder else path
    return credential if credential.is_file() and credential.read_bytes().strip() else path


def _read_secret(setting: str, name: str, private: bool) -> str | None:
    """Return a secret file's content without the newline at its end; ``None`` where no file is set."""
    if not name:
        return None
    path = loaded(name)
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"broker.{setting} must name a readable text file, got {path}: {reason}") from None
    if not secret:
        raise ConfigError(f"broker.{setting} must not be empty, got {path}")
    if private:
        _warn_if_exposed(setting, path)
    return secret


def _warn_if_exposed(setting: str, path: Path) -> None:
    if path.stat().st_mode & stat.S_IROTH:
        log.warning("broker.%s %s can be read by everybody; chmod 600 %s", setting, path, path)


def _tls_context(broker: Broker) -> ssl.SSLContext:
    ca_file = str(Path(broker.ca_file).expanduser()) if broker.ca_file else None
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(f"broker.ca_file must name PEM certificates, got {ca_file}: {reason_of(error)}") from None
    if bool(broker.cert_file) != bool(broker.key_file):
        raise ConfigError("broker.cert_file and broker.key_file must be given together")
    if broker.cert_file:
        cert, key = loaded(broker.cert_file), loaded(broker.key_file)
        try:
            context.load_cert_chain(cert, key)
            _warn_if_exposed("key_file", key)
        except OSError as error:
            raise ConfigError(
                f"broker.cert_file and key_file must be a PEM certificate and its key, got {cert} and {key}: "
                f"{reason_of(error)}"
            ) from None
    return context
