"""The methods that --method and method= take, a line each: name, the model it takes by default, what it is."""

from isdiff.cli.command import Parser


def main(arguments: list[str]) -> None:
    Parser("isdiff methods", description=__doc__).parse_args(arguments)
    from isdiff.config.composing import runs_of
    from isdiff.config.search_path import config_names
    from isdiff.config.setup import is_floor
    from isdiff.models.base import NO_MODEL
    from isdiff.pictures.choices import own_model

    files = config_names("method")
    for name, cfg in runs_of("method").items():
        lines = files[name].read_text("utf-8", errors="replace").splitlines()
        comments = [line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line]
        print(f"{name:20} {NO_MODEL if is_floor(cfg) else own_model(cfg):18} {''.join(comments[:1])}")
