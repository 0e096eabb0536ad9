"""The files that start a cluster: as far as they can be checked without a cloud, they would be accepted and work."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import validate_parameters
from ray.autoscaler._private.util import prepare_config, validate_config

from mtcnn.cluster.preflight import check_resources
from mtcnn.cluster.resources import Node
from mtcnn.config import Config, load_config

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"


@pytest.fixture(scope="module")
def launcher() -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / "cluster_launcher.yaml").read_text())


@pytest.fixture(scope="module")
def rayjob() -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / "rayjob.yaml").read_text())


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(str(CONFIGS / "cluster.yaml"))


@pytest.fixture(scope="module")
def pinned_ray() -> str:
    found = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found
    return found[1]


def pods(rayjob: dict[str, Any]) -> list[dict[str, Any]]:
    """The head's container and the workers'."""
    cluster = rayjob["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"]["containers"][0] for group in groups]


def check_entrypoint(command: str) -> None:
    """A command that runs a job of this checkout, with its options."""
    python, script, *options = shlex.split(command)
    assert python == "python"
    assert (ROOT / script).is_file()
    assert (ROOT / options[options.index("--config") + 1]).is_file()


# The cluster launcher


def test_ray_accepts_the_launcher_file(launcher):
    validate_config(prepare_config(launcher))


def test_ec2_accepts_each_kind_of_machine(launcher):
    request = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances")
    for machine in launcher["available_node_types"].values():
        validate_parameters({**machine["node_config"], "MinCount": 1, "MaxCount": 1}, request.input_shape)


def test_the_launcher_runs_the_pinned_ray_on_a_supported_python(launcher, pinned_ray):
    for image in (launcher["docker"]["head_image"], launcher["docker"]["worker_image"]):
        assert re.fullmatch(rf"rayproject/ray:{re.escape(pinned_ray)}-py31[123](-gpu)?", image)


def test_the_launchers_head_and_workers_have_the_same_python(launcher):
    docker = launcher["docker"]
    assert docker["worker_image"].removesuffix("-gpu") == docker["head_image"]


def test_the_launcher_mounts_files_that_exist(launcher):
    mounted = [Path(here) for here in launcher["file_mounts"].values() if not here.startswith("~")]
    assert {path.name for path in mounted} == {"constraints.txt", "pyproject.toml"}
    assert all((ROOT / path).is_file() for path in mounted)


def test_all_machines_ask_for_the_token_that_is_copied_to_them(launcher):
    assert launcher["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    assert "--env RAY_AUTH_MODE=token" in launcher["docker"]["run_options"]


def test_the_launched_dashboard_listens_on_loopback_only(launcher):
    assert "--dashboard-host=127.0.0.1" in launcher["head_start_ray_commands"][-1]


def test_the_launched_cluster_has_what_the_configuration_asks_for(launcher, config):
    there = []
    for name, machine in launcher["available_node_types"].items():
        count = 1 if name == launcher["head_node_type"] else machine["min_workers"]
        has = machine["resources"]
        there += [Node(name, name, has.get("CPU", 0), has.get("GPU", 0))] * count
    assert len(there) == 1 + launcher["max_workers"]
    check_resources(config.cluster, there, fixed=False)


def test_the_submission_shown_in_the_launcher_file_runs_a_job():
    shown = re.sub(r"\s*\\\n#\s*", " ", (CONFIGS / "cluster_launcher.yaml").read_text())
    check_entrypoint(re.findall(r"ray job submit .* -- (.*)", shown)[0])


# The RayJob


def test_the_rayjob_has_the_fields_that_kuberay_requires(rayjob):
    assert (rayjob["apiVersion"], rayjob["kind"]) == ("ray.io/v1", "RayJob")
    assert set(rayjob["spec"]) <= {
        "entrypoint", "runtimeEnvYAML", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
        "rayClusterSpec",
    }  # fmt: skip
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert set(cluster) == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert set(cluster["headGroupSpec"]) == {"rayStartParams", "template"}
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert set(group) == {
            "groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"
        }  # fmt: skip
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_the_rayjob_runs_the_pinned_ray(rayjob, pinned_ray):
    assert rayjob["spec"]["rayClusterSpec"]["rayVersion"] == pinned_ray
    assert len({pod["image"] for pod in pods(rayjob)}) == 1
    for pod in pods(rayjob):
        assert re.fullmatch(rf"\S+:{re.escape(pinned_ray)}-py31[123]", pod["image"])


def test_the_rayjobs_entrypoint_is_a_job_of_this_checkout(rayjob):
    check_entrypoint(rayjob["spec"]["entrypoint"])


def test_the_rayjobs_code_comes_as_an_archive(rayjob):
    environment = yaml.safe_load(rayjob["spec"]["runtimeEnvYAML"])
    assert re.fullmatch(r"s3://.+\.zip", environment["working_dir"])


def test_the_rayjob_asks_for_a_token(rayjob):
    assert rayjob["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_no_secret_is_written_in_the_rayjob(rayjob):
    for pod in pods(rayjob):
        assert "env" not in pod
        assert [source["secretRef"]["name"] for source in pod["envFrom"]] == ["mtcnn-ray-store"]


def test_the_rayjobs_cluster_has_what_the_configuration_asks_for(rayjob, config):
    cluster = rayjob["spec"]["rayClusterSpec"]
    there = [Node("head", "head", float(cluster["headGroupSpec"]["rayStartParams"]["num-cpus"]), 0.0)]
    for group, pod in zip(cluster["workerGroupSpecs"], pods(rayjob)[1:], strict=True):
        limits = pod["resources"]["limits"]
        node = Node(group["groupName"], "pod", float(limits["cpu"]), float(limits["nvidia.com/gpu"]))
        there += [node] * group["replicas"]
    check_resources(config.cluster, there, fixed=False)


# What both install


def test_the_image_of_the_rayjob_is_built_on_the_pinned_ray(rayjob, pinned_ray):
    base = re.search(r"^FROM (\S+)$", (CONFIGS / "Dockerfile").read_text(), re.MULTILINE)
    assert base
    python = pods(rayjob)[0]["image"].rpartition("-")[2]
    assert base[1] == f"rayproject/ray:{pinned_ray}-{python}-gpu"


@pytest.mark.parametrize("name", ["Dockerfile", "cluster_launcher.yaml"])
def test_machines_install_the_dependencies_of_the_package_and_no_other(name):
    text = (CONFIGS / name).read_text()
    script = re.findall(r'python -c "(.*)"', text)[0]
    listed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert listed.stdout.splitlines() == project["dependencies"]
    assert "-c constraints.txt -r /tmp/requirements.txt" in text


def test_results_of_a_cluster_live_on_an_object_store(config):
    urls = [config.crops_url, config.models_url, config.run_url, *(s.url for s in config.sources.values())]
    assert all("://" in url for url in urls)
