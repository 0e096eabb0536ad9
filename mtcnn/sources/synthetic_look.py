"""What a synthetic person looks like, drawn at random: skin, hair, features, glasses, clothes."""

from dataclasses import dataclass

import numpy as np

from mtcnn.sources.synthetic_brush import Colour, mix, random_colour, shade

_SKIN_LIGHT: Colour = (250, 214, 190)
_SKIN_MIDDLE: Colour = (208, 152, 112)
_SKIN_DARK: Colour = (78, 48, 34)
_HAIR: tuple[Colour, ...] = (
    (24, 20, 18), (40, 28, 22), (70, 46, 30), (110, 74, 44), (160, 118, 70), (214, 180, 120), (150, 66, 34),
    (170, 168, 165), (225, 222, 218),
)  # fmt: skip
_IRIS: tuple[Colour, ...] = ((50, 30, 20), (80, 52, 30), (70, 110, 140), (80, 110, 70), (110, 110, 110))

_HAIRCUTS = ("short", "long", "curly", "bald", "hat", "scarf")
_HAIRCUT_SHARES = (0.36, 0.26, 0.11, 0.08, 0.12, 0.07)
_BEARDS = ("none", "stubble", "full", "moustache")
_BEARD_SHARES = (0.70, 0.12, 0.11, 0.07)
_GLASSES = ("none", "rims", "sunglasses")
_GLASSES_SHARES = (0.76, 0.18, 0.06)


@dataclass(frozen=True)
class Look:
    """One person's appearance; lengths in head coordinates (half the face's height)."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    cloth: Colour
    headwear: Colour
    frame: Colour
    haircut: str
    beard: str
    glasses: str
    fringe: float
    parting: float
    hair_volume: float
    eye_distance: float
    eye_height: float
    eye_width: float
    eye_opening: float
    gaze: float
    lens_height: float
    frame_width: float
    brow_height: float
    brow_thickness: float
    brow_tilt: float
    nose_tip: float
    nose_width: float
    mouth_height: float
    mouth_width: float
    smile: float
    mouth_opening: float
    lip_thickness: float
    body: bool


def random_skin(rng: np.random.Generator) -> Colour:
    """A human skin colour, light to dark, with some change of hue."""
    tone = rng.uniform(0, 2)
    skin = mix(_SKIN_LIGHT, _SKIN_MIDDLE, tone) if tone < 1 else mix(_SKIN_MIDDLE, _SKIN_DARK, tone - 1)
    red, green, blue = rng.normal(0, 6, 3).tolist()
    return (min(255, skin[0] + red), min(255, skin[1] + green), max(0, skin[2] + blue))


def random_hair(rng: np.random.Generator) -> Colour:
    """A hair colour, now and then a dyed one."""
    if rng.random() < 0.04:
        return random_colour(rng)
    return shade(_HAIR[rng.integers(len(_HAIR))], rng.uniform(0.8, 1.2))


def random_look(rng: np.random.Generator) -> Look:
    """A person."""
    skin = random_skin(rng)
    open_mouth = rng.random() < 0.3
    return Look(
        skin=skin,
        hair=random_hair(rng),
        iris=_IRIS[rng.integers(len(_IRIS))],
        lips=mix(shade(skin, 0.82), (190, 50, 60), rng.uniform(0.1, 0.6)),
        cloth=random_colour(rng),
        headwear=random_colour(rng),
        frame=random_colour(rng) if rng.random() < 0.3 else (30, 28, 28),
        haircut=str(rng.choice(_HAIRCUTS, p=_HAIRCUT_SHARES)),
        beard=str(rng.choice(_BEARDS, p=_BEARD_SHARES)),
        glasses=str(rng.choice(_GLASSES, p=_GLASSES_SHARES)),
        fringe=rng.uniform(-0.95, -0.5),
        parting=rng.uniform(-0.4, 0.4),
        hair_volume=rng.uniform(1.04, 1.25),
        eye_distance=rng.uniform(0.31, 0.38),
        eye_height=rng.uniform(-0.2, -0.1),
        eye_width=rng.uniform(0.15, 0.19),
        eye_opening=rng.uniform(0.055, 0.1) if rng.random() < 0.94 else 0.012,
        gaze=rng.uniform(-0.35, 0.35),
        lens_height=rng.uniform(0.14, 0.21),
        frame_width=rng.uniform(0.025, 0.055),
        brow_height=rng.uniform(0.17, 0.25),
        brow_thickness=rng.uniform(0.035, 0.075),
        brow_tilt=rng.uniform(-0.05, 0.05),
        nose_tip=rng.uniform(0.24, 0.32),
        nose_width=rng.uniform(0.11, 0.17),
        mouth_height=rng.uniform(0.54, 0.62),
        mouth_width=rng.uniform(0.22, 0.31),
        smile=rng.uniform(-0.02, 0.13),
        mouth_opening=rng.uniform(0.04, 0.14) if open_mouth else 0.0,
        lip_thickness=rng.uniform(0.035, 0.075),
        body=bool(rng.random() < 0.8),
    )
