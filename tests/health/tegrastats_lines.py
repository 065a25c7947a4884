"""Lines as tegrastats of every JetPack writes them, with numbers of our own, and damaged ones."""

import random
from collections.abc import Iterator

JETPACK_4 = (
    "RAM 3000/7771MB (lfb 7x4MB) SWAP 100/3885MB (cached 2MB) IRAM 0/252kB(lfb 252kB) CPU [50%@1420,off,10%@1190] "
    "EMC_FREQ 2%@1600 GR3D_FREQ 3%@1109 APE 150 MTS fg 1% bg 9% AO@29C GPU@31.5C iwlwifi@36C PMIC@100C CPU@-4.25C "
    "thermal@31.35C VDD_IN 6140/5510 NVENC 716 GPU 1155/1150 CPU 385/380 SYS5V 2692/2692"
)
JETPACK_4_WITHOUT_RIGHTS = (
    "RAM 330/3964MB (lfb 1x512kB) CPU [10%@102,2%@102] SWAP 9/1982MB (cached 0MB) EMC_FREQ 0% GR3D_FREQ 12% PLL@20.5C"
)
JETPACK_5 = (
    "07-09-2024 13:31:31 RAM 6000/30623MB (lfb 6429x4MB) SWAP 0/15311MB (cached 0MB) CPU [0%@729,off] "
    "EMC_FREQ 0%@204 GR3D_FREQ 0%@114 GR3D2_FREQ 0%@99 NVJPG1 729 VIC_FREQ 115 APE 233 CV0@-256C CPU@43.5C "
    "SOC2@40.062C tj@44.437C VDD_GPU_SOC 4788mW/4700mW NC 0mW/0mW VDDQ_VDD2_1V8AO 707mW/700mW NC 0mW/0mW"
)
JETPACK_6 = (
    "11-15-2024 08:38:09 RAM 6185/7620MB (lfb 8x2MB) SWAP 851/3810MB (cached 1MB) CPU [15%@729,11%@1497] "
    "EMC_FREQ 43%@2133 GR3D_FREQ 63%@[621] NVENC 79%@166 NVDEC off NVJPG off VIC 36%@115 OFA off APE 200 "
    "cpu@53.968C soc2@52.437C gpu@53.343C tj@53.968C VDD_IN 12479mW/12000mW VDD_CPU_GPU_CV 4667mW/4600mW "
)
JETPACK_6_WITH_ODD_SPACES = (
    "RAM 29114/30697MB (lfb 3x4MB)    SWAP 4915/15348MB (cached 1MB) CPU [3%@729]   GR3D_FREQ 0%@[305,306] "
    "NVENC      off  VIC        off   APE         174        cpu@53.062C   VDD_GPU_SOC 3205mW/3200mW"
)
JETPACK_7 = (
    "07-31-2026 14:58:05 RAM 4714/62878MB (lfb 1x2MB) CPU [78%@1728,33%@1728,off,off] EMC_FREQ 2%@2133 "
    "GR3D_FREQ @[314,310,312] NVENC0_FREQ @1556 VIC 59%@423 OFA_FREQ @1556 PVA0_FREQ off APE 300 "
    "cpu@50.718C/51.5C soc1@49C/49C VDD_GPU 4925mW/4930mW/5000mW VIN 16802mW/16802mW"
)
WHOLE = (JETPACK_4, JETPACK_4_WITHOUT_RIGHTS, JETPACK_5, JETPACK_6, JETPACK_6_WITH_ODD_SPACES, JETPACK_7)

_CHARACTERS = " 0123456789%@[](),/.-:xkMGBWCmRAMSWPCUlfb\t\0é٣½\n"


def damaged(count: int, seed: int, whole: tuple[str, ...] = WHOLE) -> Iterator[str]:
    """Lines with pieces cut, doubled, swapped, replaced and numbers made huge."""
    chance = random.Random(seed)
    for _ in range(count):
        line = chance.choice(whole)
        for _ in range(chance.randint(1, 6)):
            line = _damage(line, chance)
        yield line


def _damage(line: str, chance: random.Random) -> str:
    start, end = sorted(chance.randrange(len(line) + 1) for _ in range(2))
    end = min(end, start + 40)
    kind = chance.randrange(7)
    if kind == 0:
        return line[:start] + line[end:]
    if kind == 1:
        return line[:end] + line[start:]
    if kind == 2:
        return line[:start] + "".join(chance.choices(_CHARACTERS, k=8)) + line[start:]
    if kind == 3:
        words = line.split(" ")
        chance.shuffle(words)
        return " ".join(words)
    if kind == 4:
        return line[:start] + "9" * chance.choice((5, 30, 5000)) + line[start:]
    if kind == 5:
        return line[:start]
    return line[:start] + chance.choice(WHOLE)[start:] + line[end:]
