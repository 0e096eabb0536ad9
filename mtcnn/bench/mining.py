"""How fast crops are mined: against the work that cannot be left out, and against DFace's way.

One thread, as one actor with one core has it: a unit read from its source shard, mined, and committed.
"""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

from mtcnn.bench.data import Material, Setting, material, miner, mining_options, missing_nets
from mtcnn.bench.dface import DFaceMiner
from mtcnn.bench.engines import Run, canvas_shape, engines, fastest
from mtcnn.bench.measure import Work, here, interleaved
from mtcnn.bench.report import Report, compared
from mtcnn.image import Octaves
from mtcnn.mining.unit import Recipe, UnitCrops, generator, mine_unit
from mtcnn.nets import SIZES, STAGES
from mtcnn.shards import CLASSES
from mtcnn.store import open_store

DFACE_SHARE = 4
"""DFace's way gets a quarter of the images: it is slow, and rates are compared."""
GOALS = {"pnet": 0.8, "rnet": 0.7, "onet": 0.7}
TITLES = {"pnet": "P-Net", "rnet": "R-Net", "onet": "O-Net"}
DFACE_GOAL = 6.0


def run(setting: Setting) -> Report:
    """Images a second for each stage whose nets are there."""
    found = material(setting)
    report = Report("mining", notes=[_about(found), *missing_nets(found)])
    stages = found.stages()
    for stage in stages:
        _stage(stage, found, setting, setting.seconds / len(stages), report)
    return report


def _about(found: Material) -> str:
    sizes = [(i.annotation.width, i.annotation.height) for i in found.images]
    width, height = (round(float(np.mean(side))) for side in zip(*sizes, strict=True))
    faces = sum(int((~i.annotation.ignore).sum()) for i in found.images)
    thresholds = ", ".join(f"{s} {w.threshold:.2f}" for s, w in zip(STAGES, found.weights, strict=False))
    return (
        f"{len(found.images)} images of {width}x{height} px on average, {faces} faces; one thread; "
        f"min_face {mining_options('rnet').min_face:g}; mining thresholds {thresholds or 'none'}, for DFace's way too"
    )


def _stage(stage: str, found: Material, setting: Setting, seconds: float, report: Report) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    mined = _mined_once(stage, found, setting)
    nets, named = _nets(stage, found, setting)
    sides = {
        "ours": here(_ours(stage, found, setting)),
        "limit": here(_limit(stage, found, mined, nets, setting)),
        "dface": here(_dface(stage, found, setting)),
    }
    rounds = interleaved(sides, setting.repeats, seconds)
    title = f"mining {TITLES[stage]} crops"
    limit_is = " + ".join(["decode", *named, "one resize a crop", "write"])
    per_image = sum(len(crops) for crops in mined.crops.values()) / len(found.images)
    report.rows += [
        compared(rounds, "ours", "limit", title, "images/s", limit_is, GOALS[stage]),
        compared(rounds, "ours", "limit", title, "crops/s", limit_is, scale=per_image),
        compared(rounds, "ours", "dface", title, "images/s", "DFace's way",
                 DFACE_GOAL if stage != "pnet" else None),
    ]  # fmt: skip
    proposals = mined.stats["proposals"] / len(found.images)
    report.notes.append(f"{title}: {per_image:.0f} crops and {proposals:.0f} proposals an image")


def _mined_once(stage: str, found: Material, setting: Setting) -> UnitCrops:
    """The unit's crops, to know what the limit has to cut."""
    worker = miner(found, stage, setting)
    options = mining_options(stage)
    wanted = frozenset(CLASSES) if worker.plan.landmarks else frozenset(CLASSES) - {"landmark"}
    recipe = Recipe(SIZES[stage], options, wanted)
    rng = generator(worker.plan.seed, stage, found.units[0].name)
    return mine_unit(found.images, recipe, worker.proposer, rng)


def _ours(stage: str, found: Material, setting: Setting) -> Work:
    worker = miner(found, stage, setting)

    def work() -> float:
        # A folder of its own each time: a committed unit is not mined again.
        worker.store = open_store(tempfile.mkdtemp(dir=setting.folder))
        return worker.mine(found.units[0]).stats["images"]

    return work


def _nets(stage: str, found: Material, setting: Setting) -> tuple[list[Run], list[str]]:
    """The nets that proposing takes for one image on average, each in its fastest engine, and their names."""
    options = mining_options(stage)
    before = found.weights[: STAGES.index(stage)]
    if not before:
        return [], []
    sizes = [(i.annotation.width, i.annotation.height) for i in found.images]
    shapes: list[tuple[int, ...]] = [(1, *canvas_shape(sizes, options.min_face, options.factor))]
    if len(before) > 1:
        detector = miner(found, "rnet", setting).proposer
        assert detector is not None
        looked_at = [len(detector.propose(Octaves(i.decode())).boxes) for i in found.images]
        size = SIZES["rnet"]
        shapes.append((max(round(float(np.mean(looked_at))), 1), size, size))
    nets, names = [], []
    for weights, shape in zip(before, shapes, strict=True):
        ways = engines(weights, shape, setting.device, 1)
        best = fastest(ways, setting.device)
        nets.append(ways[best])
        names.append(f"{TITLES[weights.net.architecture.stage]} ({best})")
    return nets, names


def _limit(stage: str, found: Material, mined: UnitCrops, nets: list[Run], setting: Setting) -> Work:
    """Decode each image, run the nets, resize each crop that was mined once, write pixels and targets."""
    size, images = SIZES[stage], found.images
    cuts: list[list[tuple[str, int, int, int, int]]] = [[] for _ in images]
    for name, crops in mined.crops.items():
        for row, (index, x, y, side) in enumerate(crops.origin.tolist()):
            cuts[index].append((name, row, x, y, max(side, 1)))
    out = {name: np.empty((len(crops), size, size, 3), np.uint8) for name, crops in mined.crops.items()}

    def work() -> float:
        for image, chosen in zip(images, cuts, strict=True):
            rgb = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert rgb is not None
            height, width = rgb.shape[:2]
            for net in nets:
                net()
            for name, row, x, y, side in chosen:
                left, top = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
                window = rgb[top : max(y + side, top + 1), left : max(x + side, left + 1)]
                cv2.resize(window, (size, size), out[name][row], 0, 0, cv2.INTER_LINEAR)
        folder = Path(tempfile.mkdtemp(dir=setting.folder))
        for name, crops in mined.crops.items():
            with (folder / name).open("wb") as file:
                for array in (out[name], crops.boxes, crops.landmarks):
                    file.write(array.data)
        return len(images)

    return work


def _dface(stage: str, found: Material, setting: Setting) -> Work:
    before = found.weights[: STAGES.index(stage)]
    folder = setting.folder / f"dface-{stage}"
    worker = DFaceMiner(stage, [w.net for w in before], [w.threshold for w in before], folder, setting.device)
    # Spread over the images that ours gets, so that both see alike.
    images = found.images[:: min(DFACE_SHARE, len(found.images))]
    return lambda: worker.mine(images)
