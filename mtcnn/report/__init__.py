"""What a run shows: the page people look at, TensorBoard events, and the table at the end on a terminal."""

from mtcnn.report.events import write_events
from mtcnn.report.page import write_report

__all__ = ["write_events", "write_report"]
