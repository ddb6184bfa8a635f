"""A long call whose worker is killed again and again: no run is lost, and no memory is.

Takes ten minutes and more, and prints what it saw (``pytest -m slow -s``).
"""

import os
import random
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest
from checkouts import SETTINGS, Checkout, make_checkout
from PIL import Image
from processes import WORKER, Faults
from validate import validate_results

pytestmark = pytest.mark.slow

PAGES, REPEATS = 6, 50
RUNS = PAGES * REPEATS
KILLS = 15
STEADY = 120  # runs at the least that the last worker makes
WARM_UP = 20  # runs of a worker after which allocators, kernels and code have what they keep
FLAT = 0.05


@dataclass
class Watched:
    """A call, watched from outside.

    Attributes:
        memory: worker -> its resident bytes after each of its runs, when it is idle.
        killed: the workers that were killed.
        said: what the call printed.
    """

    process: subprocess.Popen[str]
    memory: dict[int, list[int]] = field(default_factory=dict)
    killed: list[int] = field(default_factory=list)
    said: str = ""

    def read(self) -> None:
        """Take what it prints, so that it never waits for a reader."""
        assert self.process.stdout is not None
        self.said = self.process.stdout.read()


def resident_bytes(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def watch(checkout: Checkout, faults: Faults, chance: random.Random) -> Watched:
    """Measure every page; kill the worker after some numbers of runs, a moment into the next."""
    seen = Watched(checkout.start("--until", "profile", **faults.environment))
    reading = threading.Thread(target=seen.read)
    reading.start()
    left = sorted(chance.sample(range(1, RUNS - STEADY - KILLS), KILLS))
    done = 0
    while seen.process.poll() is None:
        time.sleep(0.02)
        now = len(list(checkout.results.glob("baseline/runs/*/*.json")))
        workers = list(faults.processes(WORKER)) if now > done else []
        if now > done and workers:
            seen.memory.setdefault(workers[0], []).append(resident_bytes(workers[0]))
        done = now
        if left and done >= left[0] and workers:
            left.pop(0)
            time.sleep(chance.uniform(0, 3))
            os.kill(workers[0], signal.SIGKILL)
            seen.killed.append(workers[0])
    reading.join()
    assert not left, f"{done} runs were made"
    return seen


def test_nothing_is_lost_and_memory_stays_flat(tmp_path: Path, faults: Faults) -> None:
    checkout, chance = make_checkout(tmp_path / "checkout"), random.Random(6)
    checkout.configure(**SETTINGS | {"max_new_tokens": 1, "repeats": REPEATS, "resolution": "tiny"})
    for number in range(PAGES):
        Image.new("RGB", (40, 30), (40 * number, 200, 100)).save(checkout.pages / f"{number}.png")
    seen = watch(checkout, faults, chance)

    wanted = {(f"{page}.png", repeat) for page in range(PAGES) for repeat in range(REPEATS)}
    first = checkout.digests()
    found = {(path.split("/")[2], int(Path(path).stem)) for path in first}
    failed = {
        (page, repeat)
        for page, repeat in wanted
        if f"run failed: {page}, repeat {repeat + 1} of {REPEATS}\n" in seen.said
    }
    assert found | failed == wanted
    assert not found & failed
    assert 0 < len(failed) <= KILLS
    for page, repeat in failed:
        log = checkout.root / "logs" / "baseline" / "runs" / page / f"{repeat}.log"
        assert "the model worker ended in the middle of this run" in log.read_text()
    assert seen.process.returncode == 1
    assert checkout.planned("--until", "profile") == {"profile": len(failed)}
    checkout.run("--until", "profile")
    second = checkout.digests()
    assert len(second) == RUNS
    assert {path: second[path] for path in first} == first
    validate_results(checkout.results)

    *_, steady = seen.memory.values()
    assert len(steady) >= STEADY
    # Medians of ten: now and then one is seen while the next run is already under way.
    tens = range(WARM_UP, len(steady) - 9, 10)
    medians = [median(steady[first : first + 10]) for first in tens]
    print(
        f"\n{RUNS} runs, {len(seen.killed)} kills, {len(failed)} runs failed and measured again; "
        f"the last worker made {len(steady)} runs: {steady[0] / 1e6:.1f} MB after the first, "
        f"medians of ten {medians[0] / 1e6:.1f} MB after {WARM_UP}, {medians[-1] / 1e6:.1f} MB at "
        f"the end, {min(medians) / 1e6:.1f} to {max(medians) / 1e6:.1f} MB between"
    )
    assert all(abs(size / medians[0] - 1) < FLAT for size in medians)
