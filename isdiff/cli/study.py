"""The human study of Table III.

build     make a blind study from runs: a folder to be given to people, and beside it the key, to be kept
collect   answer files and the key make shares of votes with intervals, beside the paper's

Exit codes: 0; 1: it could not be done; 3: done, but without some of the answer files.
"""

import argparse
import sys
from pathlib import Path

from isdiff.cli.command import Parser
from isdiff.errors import SomeFailed, UserError, printable
from isdiff.paths import located, placed
from isdiff.study.build import build_study
from isdiff.study.collect import answer_files, collect, read_key, write
from isdiff.study.plan import read_plan
from isdiff.tables.render import show

KEY_ENDING = ".key.json"


def main(arguments: list[str]) -> None:
    parser = Parser("isdiff study", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("build", help="make a study from runs")
    making.set_defaults(do=build)
    making.add_argument("plan", type=Path, help="a YAML file such as configs/study/table3.yaml")
    making.add_argument("--out", type=Path, default=placed("outputs/study"), help="the study's folder (outputs/study)")
    making.add_argument("--n", type=int, help="sets of pictures for each cell, in the place of the plan's")
    making.add_argument("--seed", type=int, help="in the place of the plan's")
    making.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an override of the runs")
    making.add_argument("--overwrite", action="store_true", help="replace another study in the same place, key and all")
    collecting = commands.add_parser("collect", help="make the table from answers")
    collecting.set_defaults(do=gather)
    collecting.add_argument("key", type=Path, help="<study's folder>.key.json")
    collecting.add_argument("answers", nargs="*", help="answers-*.json: files, patterns, or folders of them")
    collecting.add_argument("--out", type=Path, help="folder of the results (<study's folder>.results)")
    args = parser.parse_args(arguments)
    args.do(args)


def build(args: argparse.Namespace) -> None:
    plan = read_plan(located(args.plan), args.set, n=args.n, seed=args.seed)
    study = build_study(plan, args.out, args.overwrite)
    print(f"study {study.id}, {len(study.questions)} questions: give people the folder {study.folder}")
    print(f"keep the key to yourself: {study.key}")


def gather(args: argparse.Namespace) -> None:
    files = answer_files(args.answers)
    key = read_key(args.key)
    answers = collect(key, files)
    for path, reason in answers.refused.items():
        print(printable(f"isdiff: {path} is left out: {reason}"), file=sys.stderr)
    if not any(answers.given.values()):
        raise UserError("none of the files holds an answer to this study; nothing was written")
    folder = args.out or args.key.with_name(f"{args.key.name.removesuffix(KEY_ENDING)}.results")
    show(write(key, answers, folder))
    print(f"results: {folder}")
    if answers.refused:
        raise SomeFailed(f"{len(answers.refused)} of {len(files)} files could not be used; the others count")
