"""What each phase takes and leaves: its units, where its output is, and the digest of all that decides it.

The pipeline makes what is missing, a dry run says what that would be: both ask here, and so agree.
"""

import hashlib
from collections.abc import Mapping, Sequence

from mtcnn.config import Config, Source
from mtcnn.digest import digest_of
from mtcnn.errors import MissingKey, UserError, WeightsError
from mtcnn.mining.plan import MiningPlan, PlannedSource, Unit, units
from mtcnn.nets import STAGES, Architecture, Weights, load
from mtcnn.shards import FORMAT
from mtcnn.sources import prepare
from mtcnn.sources.read import Index, read_index
from mtcnn.store import Store, open_store
from mtcnn.training.loop import TrainingPlan


def training_sources(config: Config) -> dict[str, Source]:
    """The sources that are mined, by name."""
    chosen = {name: source for name, source in config.sources.items() if source.use == "train"}
    if not chosen:
        raise UserError("sources: none has use: train, so there is nothing to mine")
    return chosen


def ready_index(name: str, source: Source) -> Index:
    """The index of a source whose shards have to be there; UserError names the command that makes them."""
    try:
        return read_index(source.url)
    except MissingKey as error:
        raise UserError(
            f"sources.{name}: no source shards in {source.url}: make them with jobs/prepare.py, or set "
            f"sources.{name}.kind, images and annotations"
        ) from error


def source_index(config: Config, name: str) -> Index:
    """The index of a source, whose shards are made first where that is configured."""
    source, limits = config.sources[name], config.limits
    if source.kind == "shards":
        return ready_index(name, source)
    try:
        return prepare(
            source.kind,
            source.images or None,
            source.annotations,
            source.url,
            count=source.count,
            seed=source.seed,
            skip_bad=source.skip_bad,
            max_pixels=limits.max_pixels,
            max_bad_fraction=limits.max_bad_fraction,
            images_per_shard=source.images_per_shard,
        )
    except UserError as error:
        raise type(error)(f"sources.{name}: {error}") from error


def mined_sources(config: Config, stage: str) -> dict[str, Source]:
    """Those of the training sources that have crops for `stage`: not all stages have use for landmark crops."""
    wanted = config.stages.get(stage).net.landmarks
    return {
        name: source
        for name, source in training_sources(config).items()
        if wanted or set(source.classes) != {"landmark"}
    }


def mining_units(config: Config, stage: str, indexes: Mapping[str, Index]) -> list[Unit]:
    """The units of a stage, in the order of its sources' shards; `indexes` are the sources' by name."""
    return [
        unit
        for name in mined_sources(config, stage)
        for unit in units(name, indexes[name], config.validation)
    ]


def weights_before(config: Config, stage: str) -> list[bytes]:
    """The weights files of the stages before; UserError names the command that makes what is missing."""
    models = open_store(config.models_url)
    files = []
    for earlier in STAGES[: STAGES.index(stage)]:
        try:
            files.append(models.get(f"{earlier}.pt"))
        except MissingKey as error:
            raise UserError(
                f"{stage} is mined with the weights of {earlier}, and {models.url}/{earlier}.pt is missing: "
                f"run jobs/mine.py {earlier} and jobs/train.py {earlier} with the same configuration first"
            ) from error
    return files


def mining_digest(config: Config, stage: str, indexes: Mapping[str, Index], before: Sequence[bytes]) -> str:
    """Digest of all that decides the crops of a stage; `before` are the weights files of the stages before."""
    options = config.stages.get(stage)
    return digest_of(
        {
            "format": FORMAT,
            "stage": stage,
            "seed": config.seed,
            "mining": options.mining.model_dump(mode="json"),
            "landmarks": options.net.landmarks,
            "validation": config.validation,
            "sources": {
                name: [indexes[name].digest, sorted(source.classes)]
                for name, source in training_sources(config).items()
            },
            "weights": [hashlib.sha256(data).hexdigest() for data in before],
        }
    )


def crops_store(config: Config, stage: str, digest: str) -> Store:
    """Where the crop shards of a stage with that digest are."""
    return open_store(config.crops_url).child(f"{stage}-{digest}")


def planned(source: Source) -> PlannedSource:
    """What mining has to know of a source."""
    return PlannedSource(source.url, frozenset(source.classes))


def mining_plan(config: Config, stage: str, before: Sequence[bytes], out: Store) -> MiningPlan:
    """What a mining worker has to know to mine `stage` into `out`."""
    weights = [load(data, name, f"{name}.pt") for data, name in zip(before, STAGES, strict=False)]
    options = config.stages.get(stage)
    return MiningPlan(
        stage=stage,
        seed=config.seed,
        options=options.mining,
        landmarks=options.net.landmarks,
        sources={name: planned(source) for name, source in training_sources(config).items()},
        weights=tuple(before),
        thresholds=tuple(w.threshold for w in weights),
        out=out.url,
    )


def training_plan(config: Config, stage: str, crops_digest: str) -> TrainingPlan:
    """What a training worker has to know to train `stage` on the crops of that digest."""
    options = config.stages.get(stage)
    digest = digest_of(
        {
            "crops": crops_digest,
            "net": options.net.model_dump(mode="json"),
            "training": options.training.model_dump(mode="json"),
            "workers": config.cluster.workers,
        }
    )
    net = Architecture(stage, options.net.depthwise, options.net.landmarks)
    crops = crops_store(config, stage, crops_digest)
    return TrainingPlan(net, options.training, config.seed, crops.url, digest)


def checkpoints_store(config: Config, plan: TrainingPlan) -> Store:
    """Where a training keeps what it goes on from."""
    return open_store(config.models_url).child(f"checkpoints/{plan.architecture.stage}-{plan.digest}")


def trained_weights(config: Config, plan: TrainingPlan) -> Weights | None:
    """The weights that this training has left; None where it has to be done."""
    stage = plan.architecture.stage
    models = open_store(config.models_url)
    try:
        weights = load(models.get(f"{stage}.pt"), stage, f"{models.url}/{stage}.pt")
    except (MissingKey, WeightsError):
        return None
    return weights if weights.digest == plan.digest else None
