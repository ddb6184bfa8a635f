"""Copies of this repository that tests run the workflow in."""

import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageOps

from mfuscope.storage.locks import LOCK

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "samples"
# The installed command `mfuscope` is of the repository, not of its copy.
_CHECK = "import sys; from mfuscope.workflow.cli import main; sys.exit(main())"
PARTS = ("Snakefile", "config", "profiles", "src", "workflow")


@dataclass
class Checkout:
    """A copy of the repository with pages of its own."""

    root: Path
    prefix: tuple[str, ...] = ()  # goes before snakemake

    @property
    def pages(self) -> Path:
        return self.root / "my pages"

    @property
    def results(self) -> Path:
        return self.root / "results"

    def configure(self, **settings: Any) -> None:
        """Write config.yaml anew, with these settings alone."""
        text = yaml.safe_dump(settings, sort_keys=False)
        (self.root / "config" / "config.yaml").write_text(text)

    def add_page(self, name: str) -> None:
        """A page of the samples, made small enough to be read in no time."""
        with Image.open(SAMPLES / name) as page:
            ImageOps.contain(page.convert("RGB"), (300, 300)).save(self.pages / name)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start snakemake as a user would, in a process group of its own as a terminal does."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("DSOCR_", "MFU_"))}
        return subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "snakemake", *arguments],
            cwd=self.root,
            env=clean | {"PYTHONPATH": str(self.root / "src")} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            text=True,
        )

    def call(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run snakemake to its end; returns its exit status and what it printed."""
        with self.start(*arguments, **environment) as process:
            printed, _ = process.communicate(timeout=600)
        return process.returncode, printed

    def run(self, *arguments: str, **environment: str) -> str:
        """A call that must succeed; returns what it printed."""
        status, printed = self.call(*arguments, **environment)
        assert status == 0, printed
        return printed

    def check(self, *arguments: str) -> tuple[int, str]:
        """`mfuscope check`; returns its exit status and what it printed."""
        done = subprocess.run(
            [*self.prefix, sys.executable, "-c", _CHECK, "check", *arguments],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(self.root / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs by rule that a call would run."""
        text = self.run("-n", *arguments)
        _, _, table = text.partition("Job stats:")
        found = re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)
        return {rule: int(count) for rule, count in found if rule not in ("total", "all", "flops")}

    def digests(self, pattern: str = "*/runs/*/*.json") -> dict[str, str]:
        """Content digests of results, by path within results/."""
        return {
            path.relative_to(self.results).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.results.glob(pattern))
            if path.is_file() and path.name != LOCK
        }

    def text(self, name: str) -> str:
        """A text in results/, without the places where a page may break names."""
        return (self.results / name).read_text(encoding="utf-8").replace("<wbr>", "")

    def table(self, name: str) -> list[dict[str, str]]:
        """Rows of a CSV in results/."""
        with (self.results / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


def make_checkout(root: Path) -> Checkout:
    root.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(
                source, root / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        else:
            shutil.copy(source, root / part)
    checkout = Checkout(root)
    checkout.pages.mkdir()
    return checkout


SETTINGS: dict[str, Any] = {
    "images": "my pages",
    "device": "cpu",
    "max_new_tokens": 3,
    "warmup": 0,
    "timed_passes": 1,
    "profiler": {"record_shapes": False, "with_stack": False},
}
FIRST, SECOND, THIRD = "image_eu_map.png", "text_ar_vocalised.png", "image_photo_no_text.jpg"
