"""The metrics of a run: files of ``configs/metric``, with the values that a configuration has for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from isdiff.checks import check_whole
from isdiff.config.build import build
from isdiff.config.search_path import config_names
from isdiff.config.settings import TEXTS
from isdiff.errors import UserError
from isdiff.metrics.base import Metric

NO_RUN: Mapping[str, Any] = {"model_root": "models", "metrics": {"features": None}}


def build_metrics(names: Sequence[Any], config: Mapping[str, Any] = NO_RUN) -> list[Metric]:
    """Build metrics from within ``config``, to which their values refer; without one they measure nothing."""
    files = config_names("metric")
    if unknown := [name for name in names if name not in files]:
        raise UserError(f"metrics.names has {unknown[0]!r}; there are {', '.join(files)}")
    options = (config.get("metrics") or {}).get("options") or {}
    for name, given in options.items():
        if name not in files or not isinstance(given, Mapping):
            raise UserError(f"metrics.options.{name} is {given!r}; options are arguments of a metric by its name")
    nodes = {name: OmegaConf.merge(OmegaConf.load(files[name]), options.get(name, {})) for name in names}
    whole = OmegaConf.create({**config, **dict.fromkeys(TEXTS, ""), "metric": nodes})
    return [build(whole.metric[name], Metric, f"metrics.options.{name}") for name in names]


def configured_metrics(config: Mapping[str, Any]) -> list[Metric]:
    given = config.get("metrics") or {}
    names = given.get("names")
    if names is None:
        return []
    if not isinstance(names, Sequence) or isinstance(names, str):
        raise UserError(f"metrics.names is {names!r}; it must be a list, such as [lite0_perceptual,lpips], or null")
    if names:
        check_whole("metrics.bootstrap", given.get("bootstrap"))
    return build_metrics(names, config)
