"""Every key of a configuration, with its type, its default and one sentence.

Paths and URLs are kept as written; secrets never belong in a configuration.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mtcnn.image import MAX_PIXELS

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
CropClass = Literal["pos", "part", "neg", "landmark"]
SourceKind = Literal["shards", "wider", "dface", "celeba", "facepoint", "csv", "folder", "synthetic"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Source(_Section):
    """One data set: where its source shards are and, where they have to be made first, from what."""

    url: str
    """Folder or URL of the source shards."""
    kind: SourceKind = "shards"
    """`shards`: they are there already; anything else is a KIND of jobs/prepare.py that makes them."""
    images: str = ""
    """Folder of the images, for the kinds that read one."""
    annotations: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Annotation files, for the kinds that read them."""
    count: Count = 0
    """How many scenes to draw (synthetic)."""
    seed: Count = 0
    """Seed of the scenes (synthetic) and of the order of images in the shards."""
    images_per_shard: Positive = 64
    """Images in a source shard: the unit of mining."""
    skip_bad: bool = False
    """Count unreadable annotation lines instead of stopping at the first."""
    use: Literal["train", "test"] = "train"
    """`test` sources are never mined; the chain ends with an evaluation on each."""
    classes: Annotated[tuple[CropClass, ...], Field(strict=False)] = ("pos", "part", "neg", "landmark")
    """Crops this source may give: `[neg]` for photos without faces, `[landmark]` where not every face is labelled."""


class NetOptions(_Section):
    """Variants of a net."""

    depthwise: bool = False
    """P-Net conv3 and O-Net conv4 as depthwise + pointwise convolutions."""
    landmarks: bool = False
    """A head for the five points, and landmark crops to train it."""


class Mining(_Section):
    """How crops of one stage are found and labelled."""

    min_face: PositiveFloat = 12.0
    """Faces with a shorter longer side (pixels) are neither positives nor negatives."""
    factor: Annotated[float, Field(gt=0.1, lt=1)] = 0.709
    """Step between the levels of the pyramid that proposals are looked for on."""
    positive_iou: Fraction = 0.65
    """A crop with at least this IoU with a face is positive."""
    part_iou: Fraction = 0.4
    """From here to positive_iou a crop is a part: it trains the box only."""
    negative_iou: Fraction = 0.3
    """A crop below this IoU with every face is negative."""
    random_squares: Count = 50
    """Squares tried anywhere in an image."""
    near_squares: Count = 5
    """Squares tried close to each face, for negatives that touch one."""
    jittered_squares: Count = 20
    """Squares tried around each face, for positives and parts."""
    landmark_squares: Count = 10
    """Squares tried around each face with points, for landmark crops."""
    negatives_per_image: Count = 60
    """Most negatives kept from one image."""
    crops_per_face: Count = 20
    """Most positives, and most parts, kept for each face of an image."""
    sure_negative: Fraction = 1.0
    """Negatives that the nets so far score higher than this are dropped: mostly faces without a label."""
    shrunk: Fraction = 0.0
    """Share of images that are mined at a smaller size, down to a third: small faces from larger ones."""
    inside_face: Fraction = 1.0
    """Negative proposals with more of their area inside one face than this are dropped: faces framed tighter."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.negative_iou <= self.part_iou <= self.positive_iou:
            found = f"{self.negative_iou:g}, {self.part_iou:g}, {self.positive_iou:g}"
            raise ValueError(
                f"negative_iou, part_iou and positive_iou must rise in this order, not be {found}"
            )
        return self


class Training(_Section):
    """How one stage is trained."""

    epochs: Positive = 10
    """Passes; metrics are taken and a checkpoint is kept after each."""
    steps_per_epoch: Count = 0
    """Optimiser steps in an epoch; 0: as many as show each mined positive once, from the manifest."""
    batch_size: Positive = 512
    """Crops in a step, for each worker."""
    negatives: PositiveFloat = 3.0
    """Share of negatives in a batch, relative to the other three shares."""
    positives: PositiveFloat = 1.0
    """Share of positives in a batch."""
    parts: Annotated[float, Field(ge=0)] = 1.0
    """Share of parts in a batch."""
    landmarks: Annotated[float, Field(ge=0)] = 2.0
    """Share of landmark crops in a batch, where the net has a landmark head."""
    lr: PositiveFloat = 0.005
    """Highest learning rate (AdamW), for each worker's batch_size as it is."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up: down to 1 % along a cosine, or constant."""
    warmup: Fraction = 0.05
    """Share of all steps in which the learning rate rises from 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0001
    """AdamW's weight decay, on weights of convolutions and linear layers only."""
    class_weight: PositiveFloat = 1.0
    """Weight of the classification loss."""
    box_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight of the box regression loss."""
    landmark_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight of the landmark loss."""
    hard_share: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Share of a batch's classification losses, the worst, that count."""
    flip: bool = True
    """Mirror half of the crops, with their boxes and points."""
    jitter: Fraction = 0.2
    """Strength of random brightness, contrast and colour changes."""
    turn: Annotated[float, Field(ge=0, le=45)] = 0.0
    """Most degrees that a crop is turned by, either way."""
    bfloat16: bool = False
    """Compute in bfloat16 where the machine does so natively; weights, losses and metrics stay float32."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.998
    """Decay of the averaged weights that are evaluated and kept; 0: the plain weights."""
    recall: Fraction = 0.97
    """Share of held-out faces that this stage should pass on; sets its mining threshold."""
    cache_bytes: Positive = 2_000_000_000
    """Memory for crops in each training worker; what does not fit is streamed."""


class Stage(_Section):
    """One of the three stages."""

    net: NetOptions = NetOptions()
    mining: Mining = Mining()
    training: Training = Training()

    @model_validator(mode="after")
    def _landmarks_are_trained(self) -> Self:
        if self.net.landmarks and not self.training.landmarks:
            raise ValueError(
                "training.landmarks=0 leaves the landmark head untrained: set net.landmarks=false"
            )
        return self


class Stages(_Section):
    """The three stages."""

    pnet: Stage = Stage()
    rnet: Stage = Stage(
        mining=Mining(random_squares=5, near_squares=2, jittered_squares=10),
        training=Training(lr=0.003, recall=0.95),
    )
    onet: Stage = Stage(
        net=NetOptions(landmarks=True),
        mining=Mining(random_squares=10, near_squares=4, jittered_squares=15),
        training=Training(
            lr=0.002, batch_size=256, box_weight=0.6, landmark_weight=1.5, turn=15, bfloat16=True, recall=0.9
        ),
    )

    def get(self, stage: str) -> Stage:
        """The stage of that name."""
        return getattr(self, stage)


class Evaluation(_Section):
    """How the finished cascade is measured."""

    min_face: PositiveFloat = 12.0
    """Smallest face looked for, in pixels."""
    thresholds: Annotated[tuple[Fraction, Fraction, Fraction], Field(strict=False)] = (0.4, 0.2, 0.02)
    """Low, so that the whole precision/recall curve counts."""
    max_images: Count = 0
    """Most images of each test source; 0: all."""


class Stores(_Section):
    """Where results live: folders, or s3://, gs:// and az:// URLs."""

    crops: str = "runs/{name}/crops"
    """Crop shards; {name} is the run's name."""
    models: str = "runs/{name}/models"
    """Weights."""
    runs: str = "runs"
    """The run's report, metrics and resolved configuration go to a folder NAME below it."""


class Cluster(_Section):
    """What to run on."""

    mode: Literal["ray", "local"] = "ray"
    """`local`: everything in this process without Ray, for a debugger."""
    address: str = ""
    """Ray cluster to join; empty: the one this job was submitted to, or a new one on this machine."""
    actors: Positive | Literal["auto"] = "auto"
    """Mining actors; auto: as many as the cluster has room for."""
    cpus_per_actor: PositiveFloat = 1.0
    """CPU cores, and threads, of a mining actor."""
    gpus_per_actor: Annotated[float, Field(ge=0)] = 0.0
    """GPU share of a mining actor; 0: it runs on the CPU."""
    workers: Positive = 1
    """Training workers (data parallel)."""
    cpus_per_worker: PositiveFloat | Literal["auto"] = "auto"
    """CPU cores, and threads, of a training worker; auto: its share of one machine."""
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of a training worker; 0: it runs on the CPU."""
    unit_seconds: PositiveFloat = 1800.0
    """A unit that takes longer is given up and counted as failed."""

    @property
    def threads_per_actor(self) -> int:
        """Threads that mine a unit."""
        return max(int(self.cpus_per_actor), 1)


class Limits(_Section):
    """When to skip and when to stop."""

    max_pixels: Positive = MAX_PIXELS
    """Larger images are skipped when source shards are made."""
    max_bad_fraction: Fraction = 0.01
    """Share of images that may be missing or unreadable before a phase stops."""
    max_failed_units: Count = 0
    """Units that may fail three times before a phase stops."""


class Config(_Section):
    """A whole run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "demo"
    """Name of the run."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Everything random follows from it."""
    validation: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Share of the units whose crops are held out of training."""
    sources: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")], Source] = Field(min_length=1)
    """Data sets by name."""
    stages: Stages = Stages()
    evaluation: Evaluation = Evaluation()
    store: Stores = Stores()
    cluster: Cluster = Cluster()
    limits: Limits = Limits()

    @property
    def crops_url(self) -> str:
        """Where crop shards go."""
        return self.store.crops.replace("{name}", self.name)

    @property
    def models_url(self) -> str:
        """Where weights go."""
        return self.store.models.replace("{name}", self.name)

    @property
    def run_url(self) -> str:
        """The folder of this run's report."""
        return f"{self.store.runs.rstrip('/')}/{self.name}"
