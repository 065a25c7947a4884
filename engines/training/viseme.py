"""Train the viseme network: sound in, 15 visemes out, a hundred times a second.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m engines.training.viseme KIT model.onnx [--minutes 8.5]

KIT is what ``engines.training.viseme_bank`` wrote. Every processor makes scenes (``viseme_scenes``) while the first
graphics card learns from those made so far. ``--minutes`` counts everything, from the start to the written file.
"""

import argparse
import multiprocessing
import os
import queue
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from appliance.avatar.channels import VISEMES
from appliance.listening.blocks import BLOCK_SAMPLES
from appliance.listening.features import FEATURES, MELS, features
from engines.training import viseme_recordings
from engines.training.viseme_network import HEADS, VisemeNetwork, export, write_manifest
from engines.training.viseme_phones import labels
from engines.training.viseme_scenes import SCENE_HOPS, Scenes, Speakers
from engines.training.viseme_scores import score
from engines.training.viseme_voices import Spoken

PARCEL = 8  # scenes a worker hands over at once
MOST_SCENES = 60_000  # 10 GB on the card
FIRST_SCENES = 800
WINDOW_HOPS, BATCH = 500, 128
FROM_THE_START = 0.3  # of the windows begin where the sound begins
RATE, DECAY = 3e-3, 1e-2
SMOOTHING = 0.05
RARE = 0.3  # power of how much more a rare viseme counts
CLOSING = 1.0  # added to the logit of P, B and M, as a closure that is missed is seen; chosen on voices unseen
WARP = 0.15  # how far formants move, up or down
AVERAGED_FROM = 0.3
LEFT_FOR_SCORING_S = 25.0


def _work(kit: Path, seed: int, parcels: Any) -> None:
    """Make scenes until ended."""
    scenes = Scenes(Speakers(kit, seed), seed)
    while True:
        made = [scenes.next() for _ in range(PARCEL)]
        parcels.put((np.stack([scene.heard for scene in made]), np.stack([scene.visemes for scene in made])))


@dataclass
class Bank:
    """The scenes so far, on the device that trains."""

    heard: Tensor
    visemes: Tensor
    count: int = 0

    def take(self, parcels: Any, least: int) -> None:
        """Store what the workers have made; wait until there are so many in all."""
        while self.count < least or not parcels.empty():
            try:
                heard, visemes = parcels.get(timeout=90)
            except queue.Empty:
                raise SystemExit("no worker made a scene for 90 s") from None
            places = torch.arange(self.count, self.count + len(heard)) % len(self.heard)
            self.heard[places] = torch.from_numpy(heard).to(self.heard.device)
            self.visemes[places] = torch.from_numpy(visemes).to(self.heard.device)
            self.count += len(heard)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Windows of random scenes: features and visemes."""
        device = self.heard.device
        scenes = torch.randint(min(self.count, len(self.heard)), (count,), device=device)
        starts = torch.randint(1, SCENE_HOPS - WINDOW_HOPS, (count,), device=device)
        starts[torch.rand(count, device=device) < FROM_THE_START] = 0
        hops = starts[:, None] + torch.arange(WINDOW_HOPS, device=device)
        heard = self.heard[scenes[:, None], :, hops].transpose(1, 2).float()
        return heard, self.visemes[scenes[:, None], hops].long()


def varied(heard: Tensor) -> Tensor:
    """Other throats and other microphones: formants moved, bands tilted, some of them missing."""
    count, device = len(heard), heard.device
    both = heard.view(count, 2, MELS, -1)
    moved = torch.exp((torch.rand(count, device=device) * 2 - 1) * WARP)
    rows = (torch.arange(MELS, device=device) * moved[:, None]).clamp(0, MELS - 1.001)
    low = rows.long()
    share = (rows - low)[:, None, :, None].to(both.dtype)
    low_index = low[:, None, :, None].expand(-1, 2, -1, both.shape[3])
    both = both.gather(2, low_index) * (1 - share) + both.gather(2, low_index + 1) * share
    tilt = functional.interpolate(torch.randn(count, 1, 6, device=device) * 0.2, MELS, mode="linear")[:, :, :, None]
    gain = torch.randn(count, 1, 1, 1, device=device) * 0.12
    both = torch.cat([both[:, :1] + tilt + gain, both[:, 1:]], 1)
    first = torch.randint(0, MELS, (count, 1), device=device)
    width = torch.randint(1, 8, (count, 1), device=device) * (torch.rand(count, 1, device=device) < 0.4)
    bands = torch.arange(MELS, device=device)
    missing = (bands >= first) & (bands < first + width)
    return both.masked_fill(missing[:, None, :, None], -1.0).reshape(count, FEATURES, -1)


def loss_of(said: Tensor, visemes: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy of each head with what was said so many hops before; the hastier, the more it counts."""
    shares = torch.tensor([1 / lag for lag in HEADS.values()])
    total = said.new_zeros(())
    for head, (lag, share) in enumerate(zip(HEADS.values(), (shares / shares.sum()).tolist(), strict=True)):
        wanted = visemes[:, : visemes.shape[1] - lag]
        lost = functional.cross_entropy(said[:, head, :, lag:], wanted, weights, label_smoothing=SMOOTHING)
        total = total + share * lost
    return total


def train(network: VisemeNetwork, bank: Bank, parcels: Any, until_s: float, highest_rate: float) -> VisemeNetwork:
    """Teach a network until then on the monotonic clock; return the running average over its steps."""
    device = bank.heard.device.type
    bank.take(parcels, FIRST_SCENES if device == "cuda" else FIRST_SCENES // 4)
    share = torch.bincount(bank.visemes[: bank.count].flatten().long(), minlength=len(VISEMES)) / (
        bank.count * SCENE_HOPS
    )
    weights = share.clamp(min=0.005) ** -RARE
    weights = (weights / (weights * share).sum()).float()
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=highest_rate, weight_decay=DECAY)
    began_s, step, done, told = time.monotonic(), 0, 0.0, torch.zeros((), device=device)
    while done < 1:
        for group in optimiser.param_groups:
            group["lr"] = highest_rate * _rate(done)
        heard, visemes = bank.draw(BATCH if device == "cuda" else 8)
        with torch.autocast(device, torch.bfloat16):
            said = network(varied(heard))
        loss = loss_of(said.float(), visemes, weights)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if done > AVERAGED_FROM:
            average.update_parameters(network)
        told, step = told + loss.detach(), step + 1
        if step % 25 == 0:
            bank.take(parcels, 0)
        done = (time.monotonic() - began_s) / max(until_s - began_s, 1.0)
        if step % 500 == 0:
            hours = bank.count * SCENE_HOPS / 360_000
            print(f"step {step}: loss {told.item() / 500:.3f}, {hours:.1f} h of scenes, {100 * done:.0f} %", flush=True)
            told.zero_()
    print(f"{step} steps on {bank.count} scenes", flush=True)
    trained: VisemeNetwork = average.module
    trained.eval()
    return trained


def _rate(done: float) -> float:
    """Up within a thirtieth, then down along a cosine."""
    return min(done / 0.03, 1) * 0.5 * (1 + float(np.cos(np.pi * min(done, 1)))) + 1e-4


def report(network: VisemeNetwork, kit: Path) -> None:
    """Print how well the network names what speakers and sentences it was not taught with say."""
    speakers = Speakers(kit, seed=12345)
    groups: dict[str, list[Spoken]] = {}
    for recording in speakers.unseen:
        groups.setdefault(f"{recording.speaker}, sentences unseen", []).append(speakers.recorded(recording))
    for recording in viseme_recordings.read(kit / "unseen.npz"):
        groups.setdefault(f"{recording.speaker}, voice unseen", []).append(speakers.recorded(recording))
    device = next(network.parameters()).device
    for name, group in groups.items():
        spoken, named = [], []
        for one in group:
            samples = np.pad(one.samples, (0, max(HEADS.values()) * BLOCK_SAMPLES + -len(one.samples) % BLOCK_SAMPLES))
            _, heard = features(None, samples)
            hops = len(one.samples) // BLOCK_SAMPLES
            with torch.no_grad():
                said = network(torch.from_numpy(heard[None]).to(device)).softmax(2)[0].cpu().numpy()
            spoken.append(labels(one.segments, hops))
            named.append([said[head, :, lag : lag + hops] for head, lag in enumerate(HEADS.values())])
        for head, lag in enumerate(HEADS.values()):
            print(f"{name}, {10 * lag} ms: {score(spoken, [one[head] for one in named])}", flush=True)


def main() -> None:
    """Read the arguments, train, write, score."""
    parser = argparse.ArgumentParser(description="Train the viseme network.")
    parser.add_argument("kit", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--start", type=Path, metavar="PT", help="weights to go on with")
    parser.add_argument("--rate", type=float, default=RATE, help="of learning, the highest")
    parser.add_argument("--workers", type=int, default=max((os.cpu_count() or 2) - 1, 1))
    arguments = parser.parse_args()
    arguments.model.parent.mkdir(parents=True, exist_ok=True)
    until_s = time.monotonic() + 60 * arguments.minutes - LEFT_FOR_SCORING_S
    context = multiprocessing.get_context("spawn")
    parcels = context.Queue(maxsize=64)
    workers = [
        context.Process(target=_work, args=(arguments.kit, seed, parcels), daemon=True)
        for seed in range(1, arguments.workers + 1)
    ]
    for worker in workers:
        worker.start()
    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    most = MOST_SCENES if device == "cuda" else 6000  # 1 GB
    bank = Bank(
        torch.zeros((most, FEATURES, SCENE_HOPS), dtype=torch.float16, device=device),
        torch.zeros((most, SCENE_HOPS), dtype=torch.int8, device=device),
    )
    network = VisemeNetwork().to(device)
    if arguments.start is not None:
        network.load_state_dict(torch.load(arguments.start, map_location=device))
    network = train(network, bank, parcels, until_s, arguments.rate)
    for worker in workers:
        worker.kill()
    torch.save(network.state_dict(), arguments.model.with_suffix(".pt"))
    with torch.no_grad():
        network.last.bias.view(len(HEADS), len(VISEMES))[:, VISEMES.index("PP")] += CLOSING
    export(network, arguments.model)
    write_manifest(arguments.model)
    print(f"wrote {arguments.model}", flush=True)
    report(network, arguments.kit)


if __name__ == "__main__":
    main()
