"""What is missing is said before anything starts, with what was asked for and what there is."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mtcnn.cluster import connect
from mtcnn.cluster.preflight import check_resources, check_stores, check_versions, preflight
from mtcnn.cluster.resources import Node, actor_count, nodes, room, worker_cpus
from mtcnn.config import Cluster, Config, Source, Stores
from mtcnn.errors import StoreError, UserError
from mtcnn.sources import prepare

SMALL = Node("1", "a", 2, 0)
GPU = Node("2", "b", 8, 2)


@pytest.mark.parametrize(
    ("cluster", "there", "says"),
    [
        (
            {"gpus_per_actor": 0.5},
            [SMALL],
            "a mining actor needs 1 CPUs (cluster.cpus_per_actor) and 0.5 GPUs (cluster.gpus_per_actor), "
            "which fits nowhere: there is 1 machine with 2 CPUs and 0 GPUs",
        ),
        (
            {"cpus_per_actor": 64},
            [SMALL],
            "a mining actor needs 64 CPUs (cluster.cpus_per_actor), which fits nowhere",
        ),
        ({"cpus_per_actor": 6, "gpus_per_actor": 1}, [SMALL, Node("3", "c", 2, 8)], "fits nowhere"),
        (
            {"actors": 64},
            [SMALL],
            "cluster.actors=64: a mining actor needs 1 CPUs (cluster.cpus_per_actor), of which 2",
        ),
        (
            {"workers": 64},
            [SMALL],
            "cluster.workers=64: each needs 1 CPUs (cluster.cpus_per_worker), of which 2 fit",
        ),
        (
            {"workers": 3, "gpus_per_worker": 1},
            [SMALL, GPU],
            "of which 2 fit: there is 2 machines with 1 × 2 CPUs",
        ),
        (
            {"cpus_per_worker": 9},
            [GPU, GPU],
            "of which 0 fit: there is 2 machines with 2 × 8 CPUs and 2 GPUs",
        ),
        ({}, [], "there is no machine"),
    ],
)
def test_what_does_not_fit_is_refused(cluster: dict[str, Any], there: list[Node], says: str) -> None:
    with pytest.raises(UserError) as caught:
        check_resources(Cluster(**cluster), there, fixed=True)
    assert says in str(caught.value)


def test_a_cluster_that_can_grow_may_have_fewer_actors_for_now() -> None:
    check_resources(Cluster(actors=64), [SMALL], fixed=False)
    assert actor_count([SMALL], Cluster(actors=64)) == 2
    assert actor_count([SMALL, GPU], Cluster(actors=64)) == 10
    assert actor_count([SMALL, GPU], Cluster(actors=3)) == 3


def test_room_counts_machine_by_machine() -> None:
    assert room([SMALL, GPU], 3, 0) == 2
    assert room([SMALL, GPU], 1, 0.25) == 8
    assert room([GPU], 0.1, 0.1) == 20
    assert room([Node("1", "a", 1, 0)], 0.1, 0) == 10


@pytest.mark.parametrize(
    ("there", "workers", "gpus", "cpus"),
    [
        ([SMALL], 1, 0, 2),
        ([SMALL], 2, 0, 1),
        ([GPU, GPU], 4, 1, 4),
        ([SMALL, GPU], 3, 0, 2),
        ([SMALL, GPU], 2, 0, 4),
    ],
)
def test_training_workers_share_the_machines(
    there: list[Node], workers: int, gpus: float, cpus: float
) -> None:
    assert worker_cpus(there, Cluster(workers=workers, gpus_per_worker=gpus)) == cpus


@pytest.mark.ray
def test_a_cluster_that_has_everything_passes_and_keeps_no_trace(ray_cluster: None, tmp_path: Path) -> None:
    preflight(Config(sources={"a": Source(url="b")}, store=stores(tmp_path)))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_store_or_a_source_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for config in (
        Config(sources={"a": Source(url="b")}, store=Stores(runs=str(tmp_path / "file"))),
        Config(sources={"a": Source(url=str(tmp_path / "file"), kind="synthetic")}, store=stores(tmp_path)),
    ):
        with pytest.raises(StoreError, match=f"cannot (write|look at) {tmp_path}/file"):
            check_stores(config, [])


def test_a_source_that_is_there_need_not_be_written(tmp_path: Path) -> None:
    prepare("synthetic", None, [], str(tmp_path / "scenes"), count=1, seed=1)
    (tmp_path / "scenes").chmod(0o500)
    before = (tmp_path / "scenes").stat().st_mtime_ns
    check_stores(
        Config(sources={"a": Source(url=str(tmp_path / "scenes"), kind="synthetic")}, store=stores(tmp_path)),
        [],
    )
    assert (tmp_path / "scenes").stat().st_mtime_ns == before


@pytest.mark.ray
def test_a_machine_that_does_not_see_a_store_is_named(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(sources={"a": Source(url="b")}, store=stores(tmp_path))
    check_stores(config, nodes())
    # What a folder on the driver's own disk looks like from another machine.
    module = importlib.import_module("mtcnn.cluster.preflight")  # the package has a function of that name
    monkeypatch.setattr(module, "_sees", lambda url, key: False)
    with pytest.raises(
        UserError, match=rf"^{tmp_path}/crops: machine .* does not see what the driver sees there"
    ):
        check_stores(config, nodes())


def stores(folder: Path) -> Stores:
    return Stores(crops=str(folder / "crops"), models=str(folder / "models"), runs=str(folder / "runs"))


@pytest.mark.ray
def test_another_version_on_a_machine_is_named(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    check_versions(nodes())
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "99", "0"))
    with pytest.raises(UserError, match=r"has other versions than the driver: python 3\.\d+ \(here 3\.99\)"):
        check_versions(nodes())


def test_the_folder_of_a_submitted_job_may_be_put_there_anew_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ray does for each node that shares a machine with others."""
    there = importlib.import_module("mtcnn.cluster.preflight")
    job = tmp_path / "job"

    def put_anew(*_: object) -> list[Any]:
        shutil.rmtree(job)
        job.mkdir()
        return []

    job.mkdir()
    monkeypatch.chdir(job)
    monkeypatch.setattr(there, "nodes", lambda: [SMALL])
    monkeypatch.setattr(there, "check_versions", put_anew)
    monkeypatch.setattr(there, "_everywhere", lambda *_: [])
    preflight(Config(sources={"a": Source(url="shards", kind="synthetic", count=1)}))
    assert Path.cwd() == job and (job / "runs").is_dir()


def test_an_address_without_a_cluster_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    cluster = Cluster(address="127.0.0.1:1")
    with (
        pytest.raises(UserError, match=r"cannot join the Ray cluster at '127.0.0.1:1': .*refused"),
        connect(Config(sources={"a": Source(url="b")}, cluster=cluster)),
    ):
        pass


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import ray
from mtcnn.cluster import connect
from mtcnn.config import Cluster, Config, Source
from mtcnn.errors import UserError

def config(**cluster):
    return Config(sources={"a": Source(url="b")}, cluster=Cluster(**cluster))

class Actor:
    def answer(self):
        from mtcnn.nets import SIZES
        return SIZES["onet"]

with connect(config()):
    print("answer", ray.get(ray.remote(Actor).remote().answer.remote()))
    try:
        with connect(config(gpus_per_worker=1)):
            pass
    except UserError as error:
        print(error)
assert not ray.is_initialized()
"""


@pytest.mark.ray
def test_a_program_starts_ray_for_itself_anywhere_and_its_actors_find_the_package(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, root],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (
        "answer 48" in done.stdout and "and 1 GPUs (cluster.gpus_per_worker), of which 0 fit" in done.stdout
    )
