"""Fuzzing in a process of its own, so that a hang or a crash ends that alone.

    python tests/support/fuzzing.py images 0 500        every case of a range
    python tests/support/fuzzing.py images 17           one case, to repeat it

Prints the number of a case before it begins, and its outcome after. A case that takes too long is
ended by the kernel, whatever it is doing; one that takes too much memory gets no more.
"""

import importlib
import os
import resource
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

SECONDS = 20  # for one case; mostly it takes a few milliseconds
MEGAPIXELS = 20.0  # the most that an image may have here
# A page of so many pixels takes 80 MB as PIL holds it, and less than thrice that on its way
# from 16 bits to 8; Python and its libraries take the rest.
PEAK_MB = 500


def image_case(seed: int, folder: Path) -> str:
    """A mutated image through its checks and preprocessing; returns what became of it."""
    import hashlib

    import numpy as np
    from mutated_images import mutated

    from mfuscope.core.errors import UserError
    from mfuscope.models.geometry import Tiling, page_geometry
    from mfuscope.models.views import make_views
    from mfuscope.pages.decoding import decode_page, page_size
    from mfuscope.pages.discovery import find_pages

    name, content = mutated(seed)
    print(name, f"({len(content)} bytes)", end=" ", flush=True)
    (folder / "page.png").write_bytes(content)
    (page,) = find_pages(folder)[0].values()
    planned = decoded = None
    refusals = []
    try:
        planned = page_size(page.path, MEGAPIXELS)
    except UserError as error:
        refusals.append(str(error))
    try:
        decoded = decode_page(page.path, MEGAPIXELS)
    except UserError as error:
        refusals.append(str(error))
    for refusal in refusals:
        assert refusal.isprintable()
        assert "Remedy: " in refusal
    if decoded is None:
        return "refused from its header" if planned is None else "refused when decoded"
    image, facts = decoded.image, decoded.facts
    assert planned == image.size == (facts.width, facts.height), f"planned {planned}"
    assert image.mode == "RGB"
    assert facts.sha256 == hashlib.sha256(content).hexdigest()
    assert 1 <= facts.frames <= len(content)
    for mode in ("tiny", "gundam"):
        geometry = page_geometry(*image.size, mode, Tiling())
        views = make_views(image, geometry)
        assert views.base.shape == (1, 3, geometry.base_size, geometry.base_size)
        assert (0 if views.tiles is None else len(views.tiles)) == geometry.tiles
        assert all(np.abs(one).max() <= 1 for one in (views.base, views.tiles) if one is not None)
    return "read"


def settings_case(seed: int, folder: Path) -> str:
    """Mutated settings through everything that planning makes of them; what became of it."""
    import msgspec
    from checkpoints import MODELS
    from mutated_settings import SCHEMA, mutated
    from snakemake.cli import parse_config
    from snakemake.common.configfile import load_configfile
    from snakemake.exceptions import WorkflowError

    from mfuscope.config.settings import resolve_settings
    from mfuscope.core.errors import Findings, UserError, UserErrors
    from mfuscope.planning import parameters
    from mfuscope.planning.plan import make_plan
    from mfuscope.workflow.command import command_line

    given = mutated(seed)
    print(given.command_line, given.environment, repr(given.file)[:300], end=" ", flush=True)
    (folder / "config.yaml").write_text(given.file, encoding="utf-8", errors="surrogatepass")
    _make_pages(folder / "pages")
    try:
        file = load_configfile(folder / "config.yaml")
        arguments = parse_config(given.command_line)
    except (WorkflowError, ValueError, TypeError, RecursionError, AssertionError) as error:
        return f"Snakemake's own refusal ({type(error).__name__})"
    try:
        findings = Findings()
        settings = resolve_settings(file, arguments, given.environment, SCHEMA, findings)
        plan = make_plan(settings, MODELS, known={}, findings=findings)
    except (UserError, UserErrors) as error:
        reported = error.errors if isinstance(error, UserErrors) else [error]
        for one in reported:
            text = str(one)
            assert text.isprintable(), text
            assert 10 < len(text) < 10_000, text
            assert "Remedy: " in text, text
            for sign in ("<class", "object at 0x", "OrderedDict", "datetime.", "None", "Traceback"):
                assert sign not in text, text
        return f"{len(reported)} reported, first: {reported[0]}"
    records: list[object] = [parameters.run_parameters(plan, name) for name in plan.variants]
    records += [parameters.page_rows(plan), parameters.report_settings(plan)]
    records += [parameters.flops_parameters(plan), parameters.device_parameters(plan)]
    msgspec.json.encode([records, parameters.headline(plan)])
    msgspec.json.encode(command_line(settings.overrides))
    assert len(range(settings.repeats)) * len(plan.variants) < 1e6, "more runs than can be planned"
    return "planned"


def _make_pages(folder: Path) -> None:
    from PIL import Image

    if not folder.exists():
        folder.mkdir()
        for name in ("a.png", "b c.jpg"):
            Image.new("RGB", (60, 40)).save(folder / name)


def faulty_case(seed: int, folder: Path) -> str:
    """What the cases are watched for, by number: to see that it is noticed."""
    import time

    if seed == 1:
        raise KeyError("an exception")
    if seed == 2:
        os.abort()
    if seed == 3:
        filled = bytearray((PEAK_MB + 100) << 20)
        filled[::4096] = b"x" * len(filled[::4096])
    if seed == 4:
        time.sleep(600)
    return "fine"


CASES: dict[str, Callable[[int, Path], str]] = {
    "images": image_case,
    "settings": settings_case,
    "faults": faulty_case,
}


# What cases import, so that none of them has to do it within its time.
IMPORTS = {
    "images": ("mfuscope.pages.decoding", "mfuscope.models.views"),
    "settings": ("checkpoints", "snakemake.cli", "mfuscope.planning.plan"),
}


def peak_mb() -> float:
    """The most memory that this process has had in use.

    Not `ru_maxrss`: that is never less than what the process that started this one had.
    """
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 1024


def run(kind: str, first: int, last: int, seconds: int = SECONDS) -> None:
    """Run a range of cases, each within its time."""
    warnings.simplefilter("ignore")
    for name in IMPORTS.get(kind, ()):
        importlib.import_module(name)
    most = 4 * PEAK_MB << 20  # far more than it may take, and far less than a machine has
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, also within native code
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ |= {"HOME": folder, "HF_HUB_OFFLINE": "1"}  # where `~` and `owner/name` lead
        for seed in range(first, last):
            print(f"{kind} {seed}:", end=" ", flush=True)
            signal.alarm(seconds)
            outcome = CASES[kind](seed, Path(folder))
            signal.alarm(0)
            print(f"-> {outcome}", flush=True)
        os.chdir("/")
    print(f"peak {peak_mb():.0f} MB")
    assert peak_mb() < PEAK_MB, f"the peak is above {PEAK_MB} MB"


if __name__ == "__main__":
    begin, *more = map(int, sys.argv[2:])
    run(sys.argv[1], begin, *(more or [begin + 1]))
