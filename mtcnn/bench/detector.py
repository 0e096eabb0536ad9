"""How fast faces are found: against P-Net's convolutions alone, in the fastest engine that runs here.

The limit looks at one canvas of as many pixels as an image's pyramid has; resizing, peaks, suppression, crops and
the other nets are what comes on top.
"""

import cv2
import numpy as np
import torch

from mtcnn.backend import usable_cpus
from mtcnn.bench.data import Material, Setting, material, missing_nets
from mtcnn.bench.engines import Run, canvas_shape, engines, synchronise
from mtcnn.bench.facenet import facenet
from mtcnn.bench.measure import Side, Work, here, interleaved
from mtcnn.bench.report import Report, compared, number
from mtcnn.detector import Detector
from mtcnn.engine import EngineName, chosen
from mtcnn.image import Pixels
from mtcnn.nets import STAGES, THRESHOLDS

MIN_FACES = (12.0, 20.0)
FACTOR = 0.709
GOAL = 0.7
LIMIT = "P-Net's convolutions"
FACENET, FACENET_GOAL = "facenet-pytorch, same weights", 4.0


def run(setting: Setting) -> Report:
    """Images a second for one thread and all, and for the smallest faces that matter."""
    found = material(setting)
    report = Report("detector", notes=missing_nets(found))
    if not found.files:
        return report
    images = [image.decode() for image in found.images]
    width, height = np.mean([image.shape[1::-1] for image in images], axis=0)
    report.notes.insert(0, f"{len(images)} images of {width:.0f}x{height:.0f} px on average, decoded; "
                           f"factor {FACTOR}, thresholds {' '.join(map(str, THRESHOLDS))}")  # fmt: skip
    threads = [1] if setting.device != "cpu" else sorted({1, usable_cpus()})
    stages: list[list[str]] = [["ms an image", *STAGES[: len(found.files)]]]
    share = setting.seconds / (len(threads) * len(MIN_FACES))
    for count in threads:
        for min_face in MIN_FACES:
            _case(found, images, count, min_face, setting, share, report, stages)
    report.tables.append(stages)
    return report


def _case(
    found: Material,
    images: list[Pixels],
    threads: int,
    min_face: float,
    setting: Setting,
    seconds: float,
    report: Report,
    stages: list[list[str]],
) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    everything = len(found.files)
    sizes = [(image.shape[1], image.shape[0]) for image in images]
    shape = 1, *canvas_shape(sizes, min_face, FACTOR)
    ways = engines(found.weights[0], shape, setting.device, threads)
    detectors = {name: _detector(found, everything, min_face, setting, name) for name in _engines(setting)}
    sides: dict[str, Side] = {}
    for name, detector in detectors.items():
        sides[f"proposals {name}"] = here(
            _detect(_detector(found, 1, min_face, setting, name), images, setting.device)
        )
        sides[f"cascade {name}"] = here(_detect(detector, images, setting.device))
    theirs = facenet(found.weights, images, min_face, FACTOR, THRESHOLDS, setting.device)
    if theirs is not None:
        sides["facenet"] = here(theirs)
    sides |= {name: here(_engine(way, len(images))) for name, way in ways.items()}
    rounds = interleaved(sides, setting.repeats, seconds)
    best = max(ways, key=rounds.rate)
    case = f"{threads} thread{'s' * (threads > 1)}, min_face {min_face:g}"
    limit = f"{LIMIT} ({best})"
    for name, detector in detectors.items():
        proposals, cascade = f"proposals {name}", f"cascade {name}"
        # The goal is for the engine that runs by default.
        goal = GOAL if name == list(detectors)[-1] else None
        report.rows.append(
            compared(rounds, proposals, best, f"{case}, {name}: P-Net proposals", "images/s", limit, goal)
        )
        if everything > 1:
            report.rows.append(compared(rounds, cascade, best, f"{case}, {name}: cascade", "images/s", limit))
        if theirs is not None:
            goal = FACENET_GOAL if goal else None
            report.rows.append(
                compared(rounds, cascade, "facenet", f"{case}, {name}: cascade", "images/s", FACENET, goal)
            )
        stages.append([f"{case}, {name}", *_milliseconds(detector, images)])
    for way in ways:
        if way != best:
            report.rows.append(
                compared(rounds, way, best, f"{case}: convolutions, {way}", "images/s", f"the same, {best}")
            )


def _engines(setting: Setting) -> list[EngineName]:
    """Engines of the detector that run here, the default one last."""
    default = chosen("auto", torch.device(setting.device))
    return ["torch", "openvino"] if default == "openvino" else ["torch"]


def _detector(found: Material, count: int, min_face: float, setting: Setting, engine: EngineName) -> Detector:
    nets = [weights.net for weights in found.weights[:count]]
    return Detector(nets, setting.device, min_face, FACTOR, THRESHOLDS, engine=engine)


def _detect(detector: Detector, images: list[Pixels], device: str) -> Work:
    def work() -> float:
        detector.detect_batch(images)
        synchronise(device)
        return len(images)

    return work


def _engine(way: Run, images: int) -> Work:
    def work() -> float:
        for _ in range(images):
            way()
        return images

    return work


def _milliseconds(detector: Detector, images: list[Pixels]) -> list[str]:
    """Mean of each stage over the images, as the detector itself takes the time."""
    taken = []
    for image in images:
        detector.trace(image)
        taken.append(dict(detector.timings))
    return [number(float(np.mean([times.get(stage, 0.0) for times in taken]))) for stage in taken[0]]
