"""YAML files and dotted overrides become one `Config`, and a `Config` a YAML file.

An unknown key, a wrong type or a value out of range is a ConfigError that names the key, the file and the nearest
valid key.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mtcnn.config.keys import Config, Source, Stages
from mtcnn.errors import ConfigError


def to_yaml(config: Config) -> str:
    """The whole configuration, defaults included, as a YAML file that `load_config` reads."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's floats: `1e-3` is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)
# The rule for integers has to come before the one for floats, which also matches digits alone.
for _first, _rules in _Loader.yaml_implicit_resolvers.items():
    _rules.sort(key=lambda rule: rule[0].endswith(":float"))


def load_config(path: str | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration in a YAML file with `key.sub=value` overrides (values in YAML) laid over it."""
    given: dict[str, Any] = {}
    if path is not None:
        try:
            given = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader) or {}  # noqa: S506
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(given, dict):
            raise ConfigError(f"{path}: holds a {type(given).__name__}, not keys and values")
    for override in overrides:
        _lay_over(given, override)
    try:
        # Over the stages' own defaults: a key that is set for one stage leaves that stage's others as they are.
        return Config.model_validate(_merged({"stages": Stages().model_dump()}, given))
    except ValidationError as error:
        raise ConfigError(_explain(error, path, overrides)) from error


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {
        k: _merged(base[k], over[k]) for k in base.keys() & over.keys() if _both_sections(base[k], over[k])
    }
    return {**base, **over, **both}


def _both_sections(base: object, over: object) -> bool:
    return isinstance(base, dict) and isinstance(over, dict)


def _lay_over(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{override}': an override is key.sub=value")
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"'{override}': '{parent}' is a value, it has no keys below it")
    try:
        tree[last] = yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ConfigError(f"'{override}': the value is not YAML") from error


def _explain(error: ValidationError, path: str | None, overrides: Sequence[str]) -> str:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"] if not re.match(r"constrained-|literal\[", str(part))]
    key = ".".join(location)
    given = any(_related(override.partition("=")[0], key) for override in overrides)
    where = "the command line" if given else path or "the built-in defaults"
    if first["type"] == "extra_forbidden":
        names = _valid_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], names, n=1, cutoff=0.4)
        hint = (
            f"did you mean '{'.'.join([*location[:-1], near[0]])}'?" if near else f"one of {', '.join(names)}"
        )
        return f"{where}: unknown key '{key}': {hint}"
    if first["type"] == "missing":
        return f"{where}: '{key}' is missing"
    if first["type"] == "value_error":
        # Of a section whose values do not go together; the message names them.
        return f"{where}: '{key}': {first['ctx']['error']}"
    return f"{where}: '{key}' = {first.get('input')!r}: {first['msg']}"


def _related(one: str, other: str) -> bool:
    """Whether two dotted keys are the same, or one lies below the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _valid_keys(parents: list[str]) -> list[str]:
    section: type[BaseModel] = Config
    for depth, name in enumerate(parents):
        if parents[0] == "sources" and depth == 1:
            section = Source
        elif name in section.model_fields and name != "sources":
            section = section.model_fields[name].annotation  # type: ignore[assignment]
    return sorted(section.model_fields)
