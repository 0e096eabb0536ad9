"""Measuring a detector: average precision, WIDER FACE's protocol, landmark error, the cascade by stage."""

from mtcnn.evaluation.run import (
    Evaluation,
    LandmarkEvaluation,
    WiderEvaluation,
    evaluate,
    evaluate_landmarks,
    evaluate_wider_source,
)

__all__ = [
    "Evaluation",
    "LandmarkEvaluation",
    "WiderEvaluation",
    "evaluate",
    "evaluate_landmarks",
    "evaluate_wider_source",
]
