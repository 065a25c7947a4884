"""Whom the viewer's certificate names, on the page: in letters, and as a QR code that a telephone reads."""

import base64
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from provisioning import authority
from provisioning.certificates import Role

from .chromium import Browser
from .conftest import Mosquitto, Viewer

PHOTOGRAPH = """(() => {
  const code = document.getElementById("code"), canvas = document.createElement("canvas");
  canvas.width = canvas.height = 4 * code.naturalWidth;
  const ink = canvas.getContext("2d");
  ink.drawImage(code, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/png").split(",")[1];
})()"""


def test_a_telephone_reads_name_and_fingerprint_off_the_page(mosquitto: Mosquitto, tmp_path: Path) -> None:
    folder, key, certificate = tmp_path / "authority", tmp_path / "client.key", tmp_path / "client.pem"
    authority.create(folder, "lobby")
    request = authority.make_request(key, Role.DEVICE, "lobby/orin-07")
    certificate.write_bytes(authority.enrol(folder, request, Role.DEVICE, "lobby/orin-07"))
    expected = f"lobby/orin-07\n{authority.members(folder)[0].fingerprint}"
    viewer = Viewer(mosquitto.url, "--set", f"broker.cert_file={certificate}", "--set", f"broker.key_file={key}")
    page = Browser(tmp_path / "chromium")
    try:
        page.open(viewer.url)
        page.wait("document.getElementById('code').naturalWidth > 0")
        shown = page.evaluate("document.getElementById('named').textContent")
        pixels = np.frombuffer(base64.b64decode(str(page.evaluate(PHOTOGRAPH))), np.uint8)
    finally:
        page.close()
        viewer.end()

    picture = cv2.imdecode(pixels, cv2.IMREAD_COLOR)
    assert picture is not None
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(picture)

    assert (read, shown) == (expected, expected)
    assert page.complaints == []


def test_without_a_certificate_there_is_no_code(viewer: Viewer) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{viewer.url}identity.svg", timeout=5)
