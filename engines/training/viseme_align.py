"""Find when each phone of a known text was said: a network trained on synthetic speech, then Viterbi's best path."""

import random
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from appliance.listening.blocks import BLOCK_SAMPLES, RATE
from appliance.listening.features import FEATURES, MELS, features
from appliance.values import Float32
from engines.training.viseme_phones import PHONES, SILENCE, Labels, Segment, phone_labels, single
from engines.training.viseme_voices import Espeak, Spoken

_WIDTH, _REACHES = 128, (1, 2, 4, 8, 1, 2, 4)
_WINDOW, _BATCH, _RATE = 256, 16, 2e-3
_SHORTEST_S = 0.012  # less is a link that espeak-ng speaks as part of the phone before
_SHORTEST_HOPS = 3  # a phone


class Aligner(nn.Module):
    """Both directions: log probabilities of phones, batch x phones x hops."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(FEATURES, _WIDTH, 5, padding=2), nn.BatchNorm1d(_WIDTH), nn.ReLU())
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(_WIDTH, _WIDTH, 3, padding=reach, dilation=reach), nn.BatchNorm1d(_WIDTH), nn.ReLU()
            )
            for reach in _REACHES
        )
        self.last = nn.Conv1d(_WIDTH, len(PHONES), 1)

    def forward(self, heard: Tensor) -> Tensor:
        """Take batch x features x hops."""
        inner = self.first(heard)
        for layer in self.layers:
            inner = inner + functional.dropout1d(layer(inner), 0.1, self.training)
        return functional.log_softmax(self.last(inner), 1)


@dataclass(frozen=True, slots=True)
class Example:
    """Features x hops and the phone of each hop."""

    heard: Float32
    phones: Labels


def whole_hops(samples: Float32) -> Float32:
    """Cut what is no whole hop."""
    return samples[: len(samples) // BLOCK_SAMPLES * BLOCK_SAMPLES]


def example(spoken: Spoken) -> Example:
    """Hear one sentence."""
    _, heard = features(None, whole_hops(spoken.samples))
    return Example(heard, phone_labels(spoken.segments, heard.shape[1]))


def train(examples: list[Example], minutes: float, network: Aligner | None = None) -> Aligner:
    """Teach an aligner for so long; goes on with ``network`` if there is one."""
    chance = random.Random(1)
    network = (network or Aligner()).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE)
    long = [one for one in examples if one.heard.shape[1] > _WINDOW]
    began_s, step, done, told = time.monotonic(), 0, 0.0, 0.0
    while done < 1:
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(step / 50, 1) * (1.02 - done)
        heard, wanted = [], []
        for one in chance.choices(long, k=_BATCH):
            start = chance.randrange(one.heard.shape[1] - _WINDOW)
            heard.append(_varied(one.heard[:, start : start + _WINDOW], chance))
            wanted.append(one.phones[start : start + _WINDOW])
        said = network(torch.from_numpy(np.stack(heard)))
        loss = functional.cross_entropy(said, torch.from_numpy(np.stack(wanted).astype(np.int64)), label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        done, step, told = (time.monotonic() - began_s) / (60 * minutes), step + 1, told + loss.item()
        if step % 100 == 0:
            print(f"aligner, step {step}: loss {told / 100:.3f}, {100 * done:.0f} %", flush=True)
            told = 0.0
    network.eval()
    return network


def _varied(heard: Float32, chance: random.Random) -> Float32:
    """Another throat and another microphone: formants moved, bands tilted, some of them missing, faint noise."""
    rows = np.clip(np.arange(MELS) * np.exp(chance.uniform(-0.12, 0.12)), 0, MELS - 1.001)
    low, share = rows.astype(int), (rows - rows.astype(int))[:, None]
    both = heard.reshape(2, MELS, -1)
    both = both[:, low] * (1 - share) + both[:, low + 1] * share
    tilt = np.interp(np.arange(MELS), np.linspace(0, MELS - 1, 6), [chance.gauss(0, 0.25) for _ in range(6)])
    both[0] += tilt[:, None] + chance.gauss(0, 0.15)
    both[0] = np.maximum(both[0], chance.uniform(-1.5, 0.3))  # noise hides what is faint
    if chance.random() < 0.4:
        first = chance.randrange(MELS - 6)
        both[:, first : first + chance.randint(1, 6)] = -1.0
    return np.asarray(both.reshape(heard.shape), np.float32)


def sequence_of(text: str, voice: str, espeak: Espeak) -> list[tuple[str, bool]]:
    """The phones of a text, each with whether a pause may come before it."""
    spoken = espeak.say(text, voice)
    words_s = espeak.word_begins_s()
    phones: list[tuple[str, bool]] = []
    pause = True
    for begin_s, end_s, phone in single(spoken.segments):
        pause |= any(begin_s <= word_s < end_s for word_s in words_s) or phone == SILENCE
        linked = phones and phone == phones[-1][0] and end_s - begin_s < _SHORTEST_S
        if phone != SILENCE and not linked:
            phones.append((phone, pause))
            pause = False
    return phones


def align(network: Aligner, samples: Float32, phones: list[tuple[str, bool]]) -> tuple[list[Segment], float]:
    """When each phone was said, and the mean log likelihood ratio of its hops to the best phone: 0 is certain.

    Every phone takes ``_SHORTEST_HOPS`` or more, a pause may stand where it is allowed: Viterbi's best path.
    """
    _, heard = features(None, whole_hops(samples))
    with torch.no_grad():
        said = network(torch.from_numpy(heard[None]))[0].numpy()
    chain: list[tuple[str, bool]] = []
    for phone, pause in [*phones, (SILENCE, False)]:
        chain += [(SILENCE, True), (phone, False)] if pause else [(phone, False)]
    links = [link for link, (phone, _) in enumerate(chain) for _ in range(1 if phone == SILENCE else _SHORTEST_HOPS)]
    rows = np.array([PHONES.index(chain[link][0]) for link in links])
    path = _best_path(said[rows], np.array([chain[link][1] for link in links]))
    segments: list[Segment] = []
    for hop, place in enumerate(path):
        begins = hop == 0 or links[place] != links[path[hop - 1]]
        begin_s = hop * BLOCK_SAMPLES / RATE if begins else segments.pop()[0]
        segments.append((round(begin_s, 2), round((hop + 1) * BLOCK_SAMPLES / RATE, 2), chain[links[place]][0]))
    ratio = said[rows[path], np.arange(len(path))] - said.max(axis=0)
    return segments, float(ratio.mean())


def _best_path(scores: Float32, optional: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> list[int]:
    """The best way through states x hops, one state forward at most, or two over an optional one."""
    states, hops = scores.shape
    best = np.full((states, hops), -np.inf, np.float32)
    came = np.zeros((states, hops), np.int8)
    best[0, 0] = scores[0, 0]
    if optional[0]:
        best[1, 0] = scores[1, 0]
    over = np.concatenate([[False, False], optional[1:-1]])
    for hop in range(1, hops):
        stay = best[:, hop - 1]
        one = np.concatenate([[-np.inf], stay[:-1]])
        two = np.where(over, np.concatenate([[-np.inf, -np.inf], stay[:-2]]), -np.inf)
        choices = np.stack([stay, one, two])
        came[:, hop] = choices.argmax(axis=0)
        best[:, hop] = choices.max(axis=0) + scores[:, hop]
    place = states - 1
    path = [place]
    for hop in range(hops - 1, 0, -1):
        place -= int(came[place, hop])
        path.append(place)
    return path[::-1]
