"""Results of all finished runs in a folder as one table, a row an image: ``isdiff results outputs --csv images.csv``.

Columns: configuration, network calls, seconds, attempts, every metric that has values of images, the picture's path.
"""

from importlib.util import find_spec

from isdiff.cli.command import Parser
from isdiff.errors import UserError


def main(arguments: list[str]) -> None:
    parser = Parser("isdiff results", description=__doc__)
    parser.add_argument("folder", nargs="?", default="outputs", help="with runs in it or below (default: outputs)")
    written = parser.add_mutually_exclusive_group(required=True)
    written.add_argument("--csv", metavar="FILE")
    written.add_argument("--parquet", metavar="FILE", help="needs the package pyarrow")
    args = parser.parse_args(arguments)
    if args.parquet and find_spec("pyarrow") is None:
        raise UserError("--parquet needs the package pyarrow: pip install pyarrow")
    from isdiff.io.files import atomic_save
    from isdiff.io.texts import csv_text
    from isdiff.runs.api import results

    frame = results(args.folder)
    if args.parquet:
        atomic_save(args.parquet, lambda stream: frame.to_parquet(stream, index=False))
    else:
        rows = frame.astype(object).where(frame.notna(), None).itertuples(index=False)
        atomic_save(args.csv, lambda stream: stream.write(csv_text([list(frame.columns), *rows]).encode()))
    print(f"{len(frame)} images of {frame['run'].nunique()} runs: {args.csv or args.parquet}")
