"""One way to build what a configuration names: a class of this package and its arguments, nothing left over."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from isdiff.checks import BadValue
from isdiff.component import parameters
from isdiff.data.base import Dataset
from isdiff.errors import UserError
from isdiff.masks.base import MaskSource
from isdiff.packages import is_allowed, package_folder
from isdiff.paths import placed

T = TypeVar("T")


def as_dict(cfg: DictConfig, **options: Any) -> dict[str, Any]:
    """``OmegaConf.to_container`` of a node with keys."""
    found = OmegaConf.to_container(cfg, **options)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def resolved(node: Any, where: str = "the configuration") -> dict[str, Any]:
    """The keys of a node, every value looked up.

    Raises:
        UserError: it is no node, has no value where one must be given, or names what there is not.
    """
    if not isinstance(node, DictConfig):
        raise UserError(f"{where} is {node!r}; it must have keys of its own")
    try:
        return as_dict(node, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no value; give {error.full_key}=...") from None
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration does not resolve: {' '.join(str(error).split())}") from None


def named_class(target: Any, base: type[T]) -> type[T]:
    """The class that a ``_target_`` names.

    Raises:
        UserError: it is not a class of isdiff or of a package that the user named, or not of the kind that belongs
            there. Nothing else is ever called, so a configuration from somewhere cannot start what it likes.
    """
    module, _, name = str(target).rpartition(".")
    where = "isdiff, or of a package named by --plugin or ISDIFF_PLUGINS,"
    refusal = UserError(f"_target_ is {target!r}; only a {base.__name__} of {where} can be named there")
    if not is_allowed(module) or not all(part.isidentifier() for part in (*module.split("."), name)):
        raise refusal
    if not module.startswith("isdiff."):
        package_folder(module.partition(".")[0])  # says why it cannot be imported
    try:
        cls = getattr(import_module(module), name, None)
    except ImportError:
        raise refusal from None
    if not (isinstance(cls, type) and issubclass(cls, base) and is_allowed(cls.__module__)):
        raise refusal
    return cls


def build(node: DictConfig | None, base: type[T], **given: Any) -> T:
    """The object that a node with a ``_target_`` describes, a ``base`` of this package; other keys are its arguments.

    Keys that ``base`` lists as ``labels`` may stand beside them; they are handed to classes that take them.

    Args:
        given: arguments that come from elsewhere, in the place of the node's.
    Raises:
        UserError: a key that the class does not take, or a value that it refuses.
    """
    values = resolved(node, base.__name__)
    cls = named_class(values.pop("_target_", None), base)
    return filled(cls, values, node._get_full_key(None), getattr(base, "labels", ()), given)  # type: ignore[union-attr]


def filled(
    cls: type[T], values: dict[str, Any], where: str, labels: tuple[str, ...] = (), given: dict[str, Any] | None = None
) -> T:
    """An object of ``cls`` with the arguments at the key ``where``.

    A Python keyword stands for the argument with ``_`` after it.

    Raises:
        UserError: a key that the class does not take, or a value that it refuses.
    """
    given = given or {}
    takes = {name.rstrip("_") if keyword.iskeyword(name.rstrip("_")) else name: name for name in parameters(cls)}
    for key in values:
        if (key not in takes or takes[key] in given) and key not in labels:
            open_to = ", ".join(key for key, name in takes.items() if name not in given) or "none"
            raise UserError(f"{key} is no argument of {cls.__name__}, which takes {open_to}")
    arguments = {takes[key]: value for key, value in values.items() if key in takes} | given
    try:
        with under(where):
            return cls(**arguments)
    except (ValueError, TypeError) as error:
        raise UserError(f"{cls.__name__}: {error}" if isinstance(error, TypeError) else str(error)) from None


@contextmanager
def under(key: str) -> Iterator[None]:
    """A refused argument is named by its key in the configuration, which begins with ``key``."""
    try:
        yield
    except BadValue as error:
        raise UserError(f"{key}.{error}" if key else str(error)) from None


def data_of(cfg: DictConfig) -> tuple[Dataset, MaskSource]:
    """The images and masks of a run; what it writes, and masks, are none of its images.

    Raises:
        UserError: they cannot be so.
    """
    dataset, masks = build(cfg.get("dataset"), Dataset), build(cfg.get("mask"), MaskSource)
    root, drawn = placed(cfg.output_root), getattr(masks, "path", None)
    dataset.pass_over([root, root / dataset.name, *([drawn] if drawn else [])])
    return dataset, masks
