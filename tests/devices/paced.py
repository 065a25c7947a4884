"""The other end of ``paced_pcm.c``: builds the plug-in, and gives its microphones orders."""

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("paced_pcm.c")


def build(folder: Path) -> Path:
    """Compile the plug-in of ALSA's library; return it."""
    library = folder / "libasound_module_pcm_paced.so"
    command: list[str | Path] = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-DPIC", "-o", library, SOURCE]
    subprocess.run([*command, "-lasound"], check=True)
    return library


def configuration(library: Path, microphones: dict[str, Path]) -> str:
    """Return ALSA's configuration, which ``ALSA_CONFIG_PATH`` must name: PCMs by name, each with its control folder."""
    pcms = (f'pcm.{name} {{ type paced control "{control}" }}\n' for name, control in microphones.items())
    return f'pcm_type.paced {{ lib "{library}" }}\n' + "".join(pcms)


class PacedMicrophone:
    """One microphone; the orders are those of ``paced_pcm.c``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.control = folder

    def order(self, *names: str) -> None:
        for name in names:
            (self.control / name).touch()

    def relent(self, *names: str) -> None:
        for name in names:
            (self.control / name).unlink()
