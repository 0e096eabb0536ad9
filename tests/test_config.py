"""Configurations that are right are read as written; those that are not are refused with key, file and a hint."""

from pathlib import Path

import pytest
import yaml

from mtcnn.config import Config, Mining, Training, load_config, to_yaml
from mtcnn.errors import ConfigError

CONFIGS = Path(__file__).parents[1] / "configs"
MINIMAL = "sources: {photos: {url: somewhere}}"


@pytest.fixture
def file(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Write a configuration and return its path."""

    def write(text: str) -> str:
        path = tmp_path / "my.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_what_is_not_given_has_its_default(file) -> None:  # type: ignore[no-untyped-def]
    config = load_config(file(MINIMAL))
    assert config == Config.model_validate({"sources": {"photos": {"url": "somewhere"}}})
    assert config.stages.onet.net.landmarks and not config.stages.pnet.net.landmarks
    assert (config.stages.pnet.training.recall, config.stages.rnet.training.recall) == (0.97, 0.95)


def test_one_key_of_a_stage_leaves_the_others_of_that_stage(file) -> None:  # type: ignore[no-untyped-def]
    default = load_config(file(MINIMAL)).stages.onet
    path = file(MINIMAL + "\nstages: {onet: {training: {epochs: 3}}}")
    changed = load_config(path, ["stages.onet.mining.min_face=24"]).stages.onet
    assert changed.training == default.training.model_copy(update={"epochs": 3})
    assert changed.mining == default.mining.model_copy(update={"min_face": 24.0})
    assert changed.net == default.net


def test_the_command_line_goes_over_the_file_and_the_last_word_counts(file) -> None:  # type: ignore[no-untyped-def]
    path = file(MINIMAL + "\nseed: 1\nname: one")
    config = load_config(path, ["seed=2", "seed=3", "sources.photos.use=test"])
    assert (config.seed, config.name, config.sources["photos"].use) == (3, "one", "test")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("5e-4", 0.0005), ("1", 1.0), (".5", 0.5), ("2.", 2.0), ("1E+0", 1.0)],
)
def test_numbers_may_be_written_as_anyone_would(file, text: str, value: float) -> None:  # type: ignore[no-untyped-def]
    assert load_config(file(MINIMAL), [f"stages.pnet.training.lr={text}"]).stages.pnet.training.lr == value
    assert (
        load_config(
            file(f"{MINIMAL}\nstages: {{pnet: {{training: {{lr: {text}}}}}}}")
        ).stages.pnet.training.lr
        == value
    )


def test_lists_and_texts_are_yaml(file) -> None:  # type: ignore[no-untyped-def]
    overrides = [
        "sources.photos.classes=[neg]", "evaluation.thresholds=[0.5, 0.6, 0.7]", "name=run-1", "cluster.actors=auto",
        "sources.photos.annotations=[a.txt, b.txt]", "store.crops=s3://bucket/{name}/crops",
    ]  # fmt: skip
    config = load_config(file(MINIMAL), overrides)
    assert config.sources["photos"].classes == ("neg",)
    assert config.sources["photos"].annotations == ("a.txt", "b.txt")
    assert config.evaluation.thresholds == (0.5, 0.6, 0.7)
    assert config.crops_url == "s3://bucket/run-1/crops"
    assert config.models_url == "runs/run-1/models" and config.run_url == "runs/run-1"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_configurations_in_the_repository_can_be_read(path: Path) -> None:
    if "sources" not in yaml.safe_load(path.read_text()):
        pytest.skip("a file for another program")
    config = load_config(str(path))
    assert any(source.use == "train" for source in config.sources.values())


def test_a_resolved_configuration_reads_as_itself(file) -> None:  # type: ignore[no-untyped-def]
    config = load_config(str(CONFIGS / "demo.yaml"), ["stages.pnet.training.lr=1e-3", "cluster.actors=3"])
    assert load_config(file(to_yaml(config))) == config


def test_every_key_has_one_sentence() -> None:
    for section in (Mining, Training):
        for name, key in section.model_fields.items():
            assert key.description and key.description.endswith("."), name


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stages.pnet.training.learning_rate=1", r"stages\.pnet\.training\.learning_rate'"),
        ("stages.pnet.trainin.lr=1", r"'stages\.pnet\.trainin': did you mean 'stages\.pnet\.training'\?"),
        ("stages.pnet.training.epoch=1", r"did you mean 'stages\.pnet\.training\.epochs'\?"),
        ("stages.qnet.training.lr=1", r"'stages\.qnet': did you mean 'stages\.[pro]net'\?"),
        ("sede=1", r"unknown key 'sede': did you mean 'seed'\?"),
        ("sources.photos.ulr=1", r"did you mean 'sources\.photos\.url'\?"),
        ("zzzzzz=1", r"unknown key 'zzzzzz': one of cluster, evaluation, limits, "),
        ("cluster.worker=2", r"did you mean 'cluster\.workers'\?"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_one(file, override: str, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=rf"^the command line: .*{words}"):
        load_config(file(MINIMAL), [override])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed=-1", "'seed' = -1: .* greater than or equal to 0"),
        ("seed=one", "'seed' = 'one': .* valid integer"),
        ("seed=1.5", "'seed' = 1.5: .* valid integer"),
        ("seed=true", "'seed' = True: .* valid integer"),
        ("validation=0.9", "'validation' = 0.9: .* less than or equal to 0.5"),
        ("name=../up", "'name' = '../up': "),
        ("name=", "'name' = None: .* valid string"),
        (
            "stages.pnet.training.schedule=linear",
            "'stages.pnet.training.schedule' = 'linear': .*'cosine' or 'constant'",
        ),
        ("stages.pnet.training.lr=0", "'stages.pnet.training.lr' = 0: .* greater than 0"),
        ("stages.pnet.training.flip=1", "'stages.pnet.training.flip' = 1: .* valid boolean"),
        ("cluster.actors=0", "'cluster.actors' = 0: .* greater than or equal to 1"),
        ("cluster.mode=remote", "'cluster.mode' = 'remote': .*'ray' or 'local'"),
        (
            "sources.photos.classes=[face]",
            r"'sources.photos.classes.0' = 'face': .*'pos', 'part', 'neg' or 'landmark'",
        ),
        ("evaluation.thresholds=[0.5]", "'evaluation.thresholds"),
        ("sources.Photos.url=x", "'sources.Photos"),
        ("stages=3", "'stages' = 3: "),
        ("seed=18000000000000", "'seed' = 18000000000000: .* less than 4294967296"),
        (
            "stages.pnet.mining.negative_iou=0.7",
            "'stages.pnet.mining': negative_iou, .* must rise in this order, not be 0.7, 0.4, 0.65",
        ),
        (
            "stages.onet.training.landmarks=0",
            "'stages.onet': training.landmarks=0 leaves the landmark head untrained: set net.landmarks=false",
        ),
        ("sources={}", r"'sources' = \{\}: .* at least 1 item"),
    ],
)
def test_a_value_of_wrong_type_or_range_is_named(file, override: str, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(file(MINIMAL), [override])
    assert "\n" not in str(caught.value)


def test_a_mistake_in_the_file_names_the_file(file) -> None:  # type: ignore[no-untyped-def]
    path = file(MINIMAL + "\nlimits: {max_pixel: 9}")
    with pytest.raises(ConfigError, match=rf"^{path}: unknown key 'limits.max_pixel': did you mean"):
        load_config(path, ["seed=4"])
    with pytest.raises(ConfigError, match="'sources' is missing"):
        load_config(file("seed: 1"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b", "holds a list, not keys and values"),
        ("a: [", "not YAML"),
        ("a: b: c", "not YAML"),
        ("!!python/object:x {}", "not YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line(file, text: str, words: str) -> None:  # type: ignore[no-untyped-def]
    path = file(text)
    with pytest.raises(ConfigError, match=rf"^{path}: {words}") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.yaml: No such file"):
        load_config(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(str(tmp_path / "latin.yaml"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed", "'seed': an override is key.sub=value"),
        ("=3", "'=3': an override is key.sub=value"),
        ("seed.x=3", "'seed' is a value, it has no keys below it"),
        ("name=[", "the value is not YAML"),
    ],
)
def test_an_override_that_is_none_is_refused(file, override: str, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=words):
        load_config(file(MINIMAL + "\nseed: 1"), [override])
