"""mtcnn-ray: from images with face boxes to a trained, measured MTCNN face detector, on a laptop or a Ray cluster."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtcnn.detector import Detector, Faces

__all__ = ["Detector", "Faces"]


def __getattr__(name: str) -> Any:
    # At first use: the detector needs torch, and a job's `--help` or a mistake in its configuration does not.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mtcnn import detector

    return getattr(detector, name)
