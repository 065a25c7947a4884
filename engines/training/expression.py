"""Train the expression network: landmarks in, 52 ARKit weights out.

    python -m engines.training.expression BANK TEACHER model.onnx [--steps 19000]

BANK is what ``engines.training.expression_bank`` wrote; TEACHER is MediaPipe's blendshape network
as ONNX. Ten minutes on a data-centre GPU; a few dense layers, so that tensor cores run it fast.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from engines.training.expression_samples import POINTS, Faces, upright
from engines.training.teacher import Teacher

SHAPES = 52
WIDTHS = (768, 768, 256)
BATCH = 4096
GAP = 0.3  # how much of the two landmark networks' difference the student trains through
FIRES = 0.02  # a shape whose teacher varies less than this on a set is not scored on it


def network() -> nn.Sequential:
    """Dense layers with ReLU; the inputs are standardised before, the sigmoid comes after."""
    widths = (2 * POINTS, *WIDTHS)
    layers = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(WIDTHS[-1], SHAPES))


def train(faces: Faces, teacher: Teacher, steps: int, device: str) -> tuple[nn.Sequential, Tensor, Tensor]:
    """Return the student (its running average over steps) and the mean and spread of its inputs."""
    with torch.no_grad():
        seen, meant = faces.draw(5 * BATCH, GAP)
        mean, spread = seen.mean(0), seen.std(0) + 0.003
        weight = 1 / (teacher(meant).std(0) + 0.03)  # a shape that seldom fires counts as much
    student = network().to(device)
    average = torch.optim.swa_utils.AveragedModel(
        student, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999)
    )
    optimiser = torch.optim.AdamW(student.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    began_s = time.monotonic()
    for step in range(steps):
        with torch.no_grad():
            seen, meant = faces.draw(BATCH, GAP)
            labels = teacher(meant)
        loss = ((student((seen - mean) / spread).sigmoid() - labels).abs() * weight).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        average.update_parameters(student)
        if step % 1000 == 0:
            print(f"step {step}: loss {loss.item():.4f}, {time.monotonic() - began_s:.0f} s", flush=True)
    return average.module, mean, spread


def export(student: nn.Sequential, mean: Tensor, spread: Tensor, path: Path) -> None:
    """Write ONNX: ``landmarks`` (batch, 478, 2), upright, to ``blendshapes`` (batch, 52).

    Standardisation is folded into the first layer. Weights are stored in 16 bits and cast at load.
    """
    linear = [layer for layer in student if isinstance(layer, nn.Linear)]
    weights = [layer.weight.detach().double().cpu().numpy() for layer in linear]
    biases = [layer.bias.detach().double().cpu().numpy() for layer in linear]
    scale, shift = (1 / spread).double().cpu().numpy().ravel(), mean.double().cpu().numpy().ravel()
    biases[0] = biases[0] - weights[0] @ (scale * shift)
    weights[0] = weights[0] * scale
    nodes, constants, name = [helper.make_node("Flatten", ["landmarks"], ["flat"], axis=1)], [], "flat"
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        constants.append(numpy_helper.from_array(weight.astype(np.float16), f"weight16_{index}"))
        constants.append(numpy_helper.from_array(bias.astype(np.float32), f"bias_{index}"))
        nodes.append(helper.make_node("Cast", [f"weight16_{index}"], [f"weight_{index}"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Gemm", [name, f"weight_{index}", f"bias_{index}"], [f"dense_{index}"], transB=1))
        last = index == len(weights) - 1
        name = "blendshapes" if last else f"hidden_{index}"
        nodes.append(helper.make_node("Sigmoid" if last else "Relu", [f"dense_{index}"], [name]))
    given = helper.make_tensor_value_info("landmarks", TensorProto.FLOAT, ["batch", POINTS, 2])
    told = helper.make_tensor_value_info("blendshapes", TensorProto.FLOAT, ["batch", SHAPES])
    graph = helper.make_graph(nodes, "expression", [given], [told], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="avatar-appliance")
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


def agreement(
    student: nn.Sequential, mean: Tensor, spread: Tensor, bank: "np.lib.npyio.NpzFile"
) -> tuple[float, float]:
    """Correlation and mean absolute error with the teacher on the filmed people of a bank, over what it fires."""
    own, labels = (torch.tensor(bank[name], device=mean.device) for name in ("own_px", "labels"))
    with torch.no_grad():
        told = student((upright(own) - mean) / spread).sigmoid()
    fired = [shape for shape in range(SHAPES) if labels[:, shape].std() > FIRES]
    pairs = [torch.corrcoef(torch.stack([labels[:, shape], told[:, shape]]))[0, 1].item() for shape in fired]
    return float(np.mean(pairs)), float((labels - told)[:, fired].abs().mean())


def _tell(people: str, correlation: float, error: float) -> None:
    print(f"with the teacher, on {people}: correlation {correlation:.4f}, mean absolute error {error:.4f}")


def main() -> None:
    """Train, export, and say how well it agrees on the clips it was trained on and, where given, on others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--steps", type=int, default=19000)
    parser.add_argument("--unseen", type=Path, help="a bank of other people, for evaluation alone")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(0)
    teacher = Teacher(arguments.teacher, device)
    with np.load(arguments.bank, allow_pickle=False) as bank:
        student, mean, spread = train(Faces(bank, device), teacher, arguments.steps, device)
        _tell("the people it was trained on", *agreement(student, mean, spread, bank))
    if arguments.unseen:
        with np.load(arguments.unseen, allow_pickle=False) as bank:
            _tell("unseen people", *agreement(student, mean, spread, bank))
    export(student, mean, spread, arguments.model)


if __name__ == "__main__":
    main()
