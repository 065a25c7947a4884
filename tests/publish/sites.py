"""A site's broker as it is installed: our mosquitto configuration and ACL, a real authority, real members."""

import stat
from pathlib import Path
from typing import Any

from brokers import Mosquitto, free_port

from provisioning import authority
from provisioning.certificates import Role

SHIPPED = Path(__file__).parents[2] / "systemd" / "mosquitto"
HOST = "127.0.0.1"


class Site:
    """An authority and its broker on loopback; ``passwords`` and ``certificates`` are the ports of its two doors."""

    def __init__(self, folder: Path, hosts: tuple[str, ...] = (HOST,), listen: str = HOST) -> None:
        self._listen = listen
        self.folder = folder
        self.authority = folder / "authority"
        self.installed = folder / "etc"
        authority.create(self.authority, "lobby")
        (self.installed).mkdir(mode=0o700)
        request = authority.make_request(self.installed / "broker.key", Role.BROKER, "broker.local")
        (self.installed / "broker.pem").write_bytes(
            authority.enrol(self.authority, request, Role.BROKER, "broker.local", hosts)
        )
        rules = self.installed / "acl"
        rules.write_text((SHIPPED / "acl").read_text())
        rules.chmod(stat.S_IRUSR)
        self.passwords, self.certificates = free_port(), free_port()

    def lines(self) -> list[str]:
        """The shipped configuration with this site's folder and ports."""
        text = (SHIPPED / "avatar.conf").read_text().replace("/etc/mosquitto/avatar", str(self.installed))
        text = text.replace("listener 8883", f"listener {self.passwords} {self._listen}")
        return text.replace("listener 8884", f"listener {self.certificates} {self._listen}").splitlines()

    def start(self) -> Mosquitto:
        """Install what the authority says and start the broker."""
        authority.export(self.authority, self.installed)
        self.broker = Mosquitto(self.folder, self.lines(), self.passwords, own=("user root",))
        return self.broker

    def member(self, role: Role, name: str, days: float | None = None) -> dict[str, str]:
        """Enrol somebody; return the settings of ``[broker]`` that let them in by their certificate."""
        stem = self.folder / f"{role.value}-{name.replace('/', '-')}"
        key, certificate = stem.with_suffix(".key"), stem.with_suffix(".pem")
        request = authority.make_request(key, role, name)
        certificate.write_bytes(authority.enrol(self.authority, request, role, name, days=days))
        return {**self._door(self.certificates), "cert_file": str(certificate), "key_file": str(key)}

    def secret(self, role: Role, name: str) -> dict[str, str]:
        """Give somebody a password; return the settings of ``[broker]`` that let them in by it."""
        password = self.folder / f"{name.replace('/', '-')}.password"
        user = authority.give_password(self.authority, role, name, password)
        name_file = password.with_suffix(".user")
        name_file.write_text(f"{user}\n")
        files = {"username_file": str(name_file), "password_file": str(password)}
        return {**self._door(self.passwords), **files}

    def _door(self, port: int) -> dict[str, Any]:
        return {"url": f"mqtts://{HOST}:{port}", "ca_file": str(self.authority / "ca.pem")}
