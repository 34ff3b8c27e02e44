"""Make the photographs' shipped files.

``python scripts/make_photos.py --source FOLDER`` copies photographs and writes their credits. Without it, the crops of
a split are chosen again; ``--check`` only compares.
"""

import argparse
import csv
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import installed  # noqa: F401

from isdiff.data.images import pixels_hash
from isdiff.data.shipped import crop, open_photo
from isdiff.io.files import atomic_open
from training.crops import fixed_box, photo_rows, split_files

CROPS = 1000
SIZES = (64, 128, 256)


def copy_photos(source: Path, root: Path) -> None:
    folder = root / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "photos.csv", folder / "photos.csv")
    for row in photo_rows(root):
        (folder / row["split"]).mkdir(exist_ok=True)
        shutil.copyfile(source / "images" / row["file"], folder / row["split"] / row["file"])
    write_credits(folder, photo_rows(root))


def write_credits(folder: Path, rows: list[dict[str, str]]) -> None:
    """``CREDITS.md``: every photograph with its author, licence and source."""
    by_licence = defaultdict(list)
    for row in rows:
        by_licence[row["licence"]].append(row)
    text = [
        "# Credits of the photographs",
        "",
        f"{len(rows)} photographs, at most 512 pixels on the shorter side, from packages of the Debian distribution,",
        "by licence. The 60 test photographs are in the public domain or under CC0. `photos.csv` has the same facts.",
    ]
    for licence in sorted(by_licence):
        text += ["", f"## {licence}", ""]
        for row in by_licence[licence]:
            place = row["source"] or f"Debian package {row['package']}, {row['path_in_package']}"
            text.append(f"- {row['split']}/{row['file']}: {row['author'] or 'unknown author'}; {place}")
    with atomic_open(folder / "CREDITS.md") as stream:
        stream.write("\n".join(text) + "\n")


def chosen_crops(root: Path, split: str) -> list[dict[str, str]]:
    files = split_files(root, split)
    rows = []
    for n in range(CROPS):
        image_id, file = f"photos-{split}-{n:04d}", files[n % len(files)]
        box = fixed_box(image_id, open_photo(file), min(SIZES))
        hashes = {f"pixels_{s}": pixels_hash(crop(open_photo(file), box, s)) if box[2] >= s else "" for s in SIZES}
        rows.append(
            {"id": image_id, "file": file.name}
            | dict(zip(("left", "top", "side"), map(str, box), strict=True))
            | hashes
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="folder with photos.csv and images/")
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--split", choices=("test", "dev"), default="test")
    parser.add_argument("--check", action="store_true", help="change nothing; say how many crops differ")
    options = parser.parse_args()
    if options.source:
        copy_photos(options.source, options.root)
    rows = chosen_crops(options.root, options.split)
    path = options.root / "photos" / f"{options.split}.csv"
    if options.check:
        with path.open(encoding="utf-8", newline="") as stream:
            listed = {row["id"]: row for row in csv.DictReader(stream)}
        different = [row["id"] for row in rows if listed.get(row["id"]) != row]
        print(f"{len(different)} of {len(rows)} crops differ" + (f" (first: {different[0]})" if different else ""))
        sys.exit(1 if different else 0)
    with atomic_open(path) as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(
        f"{path}: {len(rows)} crops, " + ", ".join(f"{sum(bool(r[f'pixels_{s}']) for r in rows)} at {s}" for s in SIZES)
    )


if __name__ == "__main__":
    main()
