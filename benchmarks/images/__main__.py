"""``python -m benchmarks.images download | describe``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from benchmarks.errors import UserError, exit_code
from benchmarks.images import DATA_DIR_VARIABLE, NAMES, ImageSet, data_directory, load
from benchmarks.images.cifar10 import VERIFIED
from benchmarks.images.download import download


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 done, 2 a mistake or a failed download, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images", description="The images that searches use.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (
        ("download", "fetch CIFAR-10 (170 MB) and check it against the official checksums"),
        ("describe", "print which image sets are found, and what they are"),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument("--data-dir", help=f"folder of the data sets (default: ${DATA_DIR_VARIABLE}, else ./data)")
    options = parser.parse_args(arguments)

    def work() -> None:
        if options.command == "download":
            print(f"CIFAR-10 is in {download(data_directory(options.data_dir))}: {VERIFIED}")
        else:
            describe(options.data_dir)

    try:
        return exit_code(work)
    except KeyboardInterrupt:
        print("interrupted: run the command again to go on", file=sys.stderr)
        return 130


def describe(data_dir: str | None) -> None:
    """Print a paragraph on each image set.

    Raises:
        UserError: what is wrong with the CIFAR-10 folder, if the user named one.
    """
    for name in NAMES:
        try:
            print(summary(load(name, data_dir)))
        except UserError as error:
            if data_dir or os.environ.get(DATA_DIR_VARIABLE):
                raise
            print(f"{name}: {error}")


def summary(image_set: ImageSet) -> str:
    """Size, classes, provenance and checksum of an image set in a few lines."""
    n, channels, height, width = image_set.images.shape
    test = "no test split" if image_set.test_images is None else f"{len(image_set.test_images):,} test images"
    return (
        f"{image_set.name}: {n:,} training images, {test}, {channels}x{height}x{width}, {image_set.provenance}\n"
        f"  classes: {', '.join(image_set.classes)}\n"
        f"  sha256 of the training images and labels: {image_set.sha256}"
    )


if __name__ == "__main__":
    sys.exit(main())
