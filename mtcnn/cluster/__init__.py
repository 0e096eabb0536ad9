"""The only package that imports Ray: actor pool, miners, trainer, start-up and preflight."""

from mtcnn.cluster.backend import RayBackend
from mtcnn.cluster.preflight import preflight
from mtcnn.cluster.start import connect

__all__ = ["RayBackend", "connect", "preflight"]
