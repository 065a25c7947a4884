"""Hearing with and without its network, as the load plan has it."""

from pathlib import Path

import numpy as np

from appliance.listening.blocks import BLOCK_NS, BLOCK_SAMPLES
from appliance.listening.hearing import Hearing
from appliance.listening.viseme_network import VisemeNetwork
from appliance.values import Float32, Sound
from engines.opening import open_runner
from engines.runners import Returning, Runner

from .toy_network import INPUTS, toy_network


def sounds(count: int) -> list[Sound]:
    noise: Float32 = np.random.default_rng(1).normal(0, 0.1, (count, BLOCK_SAMPLES)).astype(np.float32)
    return [Sound("mic0", block, (index + 1) * BLOCK_NS) for index, block in enumerate(noise)]


def test_without_visemes_the_network_is_let_go_and_the_rest_is_heard_on(tmp_path: Path) -> None:
    path = tmp_path / "toy.onnx"
    toy_network(path)
    loads: list[Runner] = []

    def load() -> Runner:
        loads.append(open_runner(path, "onnxruntime"))
        return loads[-1]

    returning = Returning(load)
    hearing = Hearing("mic0", VisemeNetwork(returning, INPUTS))
    plain = Hearing("mic0")
    blocks = sounds(60)

    known = [hearing.hear(block) for block in blocks[:20]]
    unknown = [hearing.hear(block, visemes=False) for block in blocks[20:40]]
    again = [hearing.hear(block) for block in blocks[40:]]
    expected = [plain.hear(block) for block in blocks]

    assert all(voice.visemes is not None for voice in known + again)
    assert all(voice.visemes is None and voice.speech is None for voice in unknown)
    assert [voice.level for voice in unknown] == [voice.level for voice in expected[20:40]]
    assert [voice.active for voice in unknown] == [voice.active for voice in expected[20:40]]
    assert len(loads) == 2
