from pathlib import Path
from re import search

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent
SHARE = Path("share/avatar-appliance")
VERSION = search(r'__version__ = "(.+)"', (HERE / "appliance/__init__.py").read_text())


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """A folder's files, for ``data_files``: they land below the environment's ``share``."""
    files = [path.relative_to(HERE) for path in sorted((HERE / folder).rglob("*")) if path.is_file()]
    return [(str(SHARE / path.parent), [str(path)]) for path in files]


setup(
    name="avatar-appliance",
    version=VERSION.group(1) if VERSION else "0",
    description="Turns a camera and a microphone into live avatar parameters over MQTT",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.10",
    packages=find_namespace_packages(
        include=["appliance*", "engines*", "calibration*", "provisioning*"], exclude=["*.__pycache__*"]
    ),
    include_package_data=True,
    package_data={
        "appliance.renderers": ["page/*"],
        "appliance.publish": ["schema/*.json"],
        "appliance.face": ["*.npz", "*.json"],
        "appliance.demo": ["*.wav", "*.json"],
        "engines": ["models/*/*"],
    },
    data_files=[(str(SHARE), ["README.md"]), *shared("systemd")],
    install_requires=[
        "numpy>=1.26",
        "opencv-python-headless>=4.8.1.78",
        "openvino>=2025.0",
        "paho-mqtt>=2.1",
        "onnx>=1.21",
        "tflite>=2.10",
        "flatbuffers>=23",
        "amqtt>=0.11.3",
        "cryptography>=44.0.1",
        "aiohttp>=3.13.4",
        "rich>=13",
        "soxr>=0.5",
        "segno>=1.6",
        "tomli>=2; python_version < '3.11'",
    ],
    extras_require={
        "device": ["pyalsaaudio>=0.11", "systemd-python>=235", "pycuda>=2024.1", "jetson-stats>=4.2"],
        "onnxruntime": ["onnxruntime>=1.20"],
        "provision": ["asyncssh>=2.14.2", "packaging>=23"],
        "prometheus": ["prometheus-client>=0.19"],
        "training": ["torch>=2.4", "scipy>=1.11"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "mypy>=1.14",
            "jsonschema>=4.20",
            "hypothesis>=6.100",
            "python-osc>=1.8",  # what the bridges say is read by others' receivers, too
            "PyLiveLinkFace>=0.1",
            "asyncssh>=2.14.2",
            "packaging>=23",
            "prometheus-client>=0.19",
            "jinja2>=3",  # evaluates templates as Home Assistant does
            "onnxruntime>=1.20",
            "pyalsaaudio>=0.11",
            "systemd-python>=235",
            "tensorrt-rtx-cu13-libs>=1.7",  # parses and builds without a GPU, as TensorRT 11 would
            "tensorrt-rtx-cu13-bindings>=1.7",
        ],
    },
    entry_points={
        "console_scripts": ["appliance=appliance.__main__:main", "appliance-provision=provisioning.__main__:main"]
    },
)
