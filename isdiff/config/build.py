"""One way to build what a configuration names: a class and its arguments, nothing left over."""

import keyword
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

from isdiff.checks import BadValue
from isdiff.component import parameters
from isdiff.errors import UserError
from isdiff.packages import is_allowed, package_folder

T = TypeVar("T")


def as_dict(cfg: DictConfig, **options: Any) -> dict[str, Any]:
    """Convert a node with keys; ``options`` are those of ``OmegaConf.to_container``."""
    found = OmegaConf.to_container(cfg, **options)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def resolved(node: Any, where: str = "the configuration") -> dict[str, Any]:
    """Return the keys of a node, every value looked up."""
    if isinstance(node, dict):
        return dict(node)
    if not isinstance(node, DictConfig):
        raise UserError(f"{where} is {node!r}; it must have keys of its own")
    try:
        return as_dict(node, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no value; give {error.full_key}=...") from None
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration does not resolve: {' '.join(str(error).split())}") from None


def named_class(target: Any, base: type[T]) -> type[T]:
    """Find the class that a ``_target_`` names: a ``base`` of isdiff or of a package that the user named.

    Nothing else is ever called, so a configuration from somewhere cannot start what it likes.
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


def build(node: Mapping[str, Any] | None, base: type[T], where: str = "", /, **given: Any) -> T:
    """Build the object that a node with a ``_target_`` describes, a ``base``; other keys are its arguments.

    Keys that ``base`` lists as ``labels`` may stand beside them; they are handed to classes that take them.

    Args:
        where: the node's key, for messages.
        given: arguments that come from elsewhere, in the place of the node's.
    """
    if isinstance(node, DictConfig) and not where:
        where = node._get_full_key(None)
    values = resolved(node, base.__name__)
    cls = named_class(values.pop("_target_", None), base)
    return fill(cls, values, where, getattr(base, "labels", ()), given)


def fill(
    cls: type[T], values: Mapping[str, Any], where: str, labels: tuple[str, ...] = (), given: Mapping[str, Any] = {}
) -> T:
    """Build an object of ``cls`` with the arguments at the key ``where``; a keyword stands for one with ``_`` added."""
    takes = {name.rstrip("_") if keyword.iskeyword(name.rstrip("_")) else name: name for name in parameters(cls)}
    for key in values:
        if (key not in takes or takes[key] in given) and key not in labels:
            open_to = ", ".join(key for key, name in takes.items() if name not in given) or "none"
            raise UserError(f"{key} is no argument of {cls.__name__}, which takes {open_to}")
    arguments = {takes[key]: value for key, value in values.items() if key in takes} | dict(given)
    with under(where):
        return cls(**arguments)


@contextmanager
def under(where: str) -> Iterator[None]:
    """What is refused is named by its key in the configuration, which begins with ``where``."""
    try:
        yield
    except BadValue as error:
        named = not where or str(error).startswith(f"{where}.")
        raise UserError(str(error) if named else f"{where}.{error}") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: {error}") from None


def read_checked(path: str | Path, shape: object, what: str) -> DictConfig:
    """Read a YAML file with the defaults of ``shape``, an object of a dataclass; errors call the file a ``what``."""
    try:
        checked = OmegaConf.merge(OmegaConf.structured(shape), OmegaConf.load(path))
        if lacking := sorted(OmegaConf.missing_keys(checked)):
            raise ValueError(f"{lacking[0]} is missing")
    except FileNotFoundError:
        raise UserError(f"there is no {what} {path}") from None
    except (OSError, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise UserError(f"{path} is no {what}: {str(error).splitlines()[0]}") from None
    assert isinstance(checked, DictConfig)
    return checked
