"""YAML files of people's own, checked against a dataclass: keys, their kinds, and what is left out."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from isdiff.errors import UserError
from isdiff.io.files import plain


def read_checked(path: str | Path, shape: object, what: str) -> tuple[DictConfig, DictConfig]:
    """The file as it stands, and the same with what ``shape`` has where it leaves something out.

    Args:
        shape: an object of a dataclass.
        what: the file is to be.
    Raises:
        UserError: it is not there, has a key that nobody reads, a value of another kind, or lacks one.
    """
    try:
        given = OmegaConf.load(plain(path))
        checked = OmegaConf.merge(OmegaConf.structured(shape), given)
        lacking = sorted(OmegaConf.missing_keys(checked))
    except FileNotFoundError:
        raise UserError(f"there is no {what} {path}") from None
    except (OSError, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise UserError(f"{path} is no {what}: {str(error).splitlines()[0]}") from None
    if lacking:
        raise UserError(f"{path} is no {what}: {lacking[0]} is missing")
    assert isinstance(given, DictConfig) and isinstance(checked, DictConfig)
    return given, checked
