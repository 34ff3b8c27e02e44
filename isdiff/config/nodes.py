"""OmegaConf's types under our names: other rooms know configurations by these alone."""

from omegaconf import MISSING, OmegaConf
from omegaconf import DictConfig as Config
from omegaconf.errors import OmegaConfBaseException as ConfigError

__all__ = ["MISSING", "Config", "ConfigError", "make_config", "merge_configs", "read_config"]

make_config, merge_configs, read_config = OmegaConf.create, OmegaConf.merge, OmegaConf.load
