"""What the benchmarks share: figures, the machine, and copies of the repository to work in."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfuscope.measure.session import Session

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_PARTS = ("Snakefile", "config", "profiles", "src", "workflow")


@dataclass(frozen=True)
class Options:
    """What the command line asked for, and an empty folder to work in."""

    folder: Path
    pages: int
    repeats: int
    cores: int
    images: tuple[int, ...]
    pairs: int


@dataclass(frozen=True)
class Figure:
    """One measured number. `wanted` says what it should be, where something depends on it."""

    name: str
    value: float
    unit: str
    wanted: str = ""

    def __str__(self) -> str:
        wanted = f"  (wanted: {self.wanted})" if self.wanted else ""
        return f"{self.name:<58} {self.value:>12,.4g} {self.unit}{wanted}"

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def machine() -> dict[str, str]:
    """What measures."""
    code = (
        "import json; from mfuscope.hardware.devices import describe_device, plan_device; "
        "from mfuscope.core.versions import software_versions; "
        "from mfuscope.hardware.nvml import driver_version; "
        "from dataclasses import asdict; device = plan_device('auto'); "
        "print(json.dumps([asdict(describe_device(device)), "
        "asdict(software_versions(driver_version()))]))"
    )
    device, versions = json.loads(child(["-c", code]))
    return {
        "kind": device["kind"],
        "device": device["name"],
        "cores": str(os.cpu_count()),
        "python": versions["python"],
        "torch": versions["torch"],
        "transformers": versions["transformers"],
    }


def child(arguments: list[str], folder: Path = ROOT) -> str:
    """Run Python in a process of its own, with this repository's library; returns its stdout."""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def seconds(arguments: list[str], folder: Path) -> float:
    """How long Python takes with these arguments in a folder, start and end included."""
    started = time.perf_counter()
    child(arguments, folder)
    return time.perf_counter() - started


def checkout(folder: Path, pages: list[Path], **settings: Any) -> Path:
    """A copy of the workflow with pages and settings of its own."""
    folder.mkdir(parents=True)
    for part in _PARTS:
        source = ROOT / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, folder / part, ignore=ignored)
        else:
            shutil.copy(source, folder / part)
    (folder / "pages").mkdir()
    for page in pages:
        shutil.copy(page, folder / "pages")
    # JSON is YAML too.
    (folder / "config" / "config.yaml").write_text(json.dumps({"images": "pages"} | settings))
    return folder


def bundled_pages(number: int) -> list[Path]:
    """Pages of data/samples, of every category in turn."""
    by_category: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "data" / "samples").glob("*_*.*")):
        if path.suffix in (".png", ".jpg"):
            by_category.setdefault(path.name.partition("_")[0], []).append(path)
    turns = max(map(len, by_category.values()))
    in_turn = [pages[i] for i in range(turns) for pages in by_category.values() if i < len(pages)]
    return in_turn[:number]


def default_session(compiling: str = "none") -> "Session":
    """The model that a bare call would measure, ready in this process; `compiling` as `compile`."""
    from mfuscope.config.settings import ModelSettings
    from mfuscope.hardware.devices import plan_device
    from mfuscope.measure.session import Session
    from mfuscope.models.spec import resolve_model

    device = plan_device("auto")
    name = "deepseek-ocr-nano" if device == "cpu" else "deepseek-ocr"
    settings = ModelSettings(name, "dummy", "auto", "sdpa", "Free OCR.", "auto", compiling, 0)
    return Session(resolve_model(name, "dummy", ROOT / "config" / "models"), settings, device)
