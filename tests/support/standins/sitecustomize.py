"""Stand-ins for GPUs: on PYTHONPATH, this makes every entry of CUDA_VISIBLE_DEVICES a device.

What measures on them is the CPU. The file MFUSCOPE_TEST_LEDGER records what happened, a line each:
Slurm's job, the device, the worker's process, `build` or `generate`, and from when to when.

While there is a file of that name and `.hold`, workers of the Slurm job that it names (of every job
where it names none) stop after their first run.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from changed_imports import change_imports

LEDGER = os.environ.get("MFUSCOPE_TEST_LEDGER", "")
HOLD = Path(f"{LEDGER}.hold")
PASSES = 3  # of a worker's first run: timed, reference, traced


def recorded(what: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def recording(*arguments: Any, **named: Any) -> Any:
        started = time.time()
        found = original(*arguments, **named)
        device = os.environ["CUDA_VISIBLE_DEVICES"]
        job = os.environ.get("SLURM_JOB_ID", "-")
        with Path(LEDGER).open("a", encoding="utf-8") as file:
            file.write(f"{job} {device} {os.getpid()} {what} {started} {time.time()}\n")
        return found

    return recording


def stand_ins(leases: Any) -> None:
    visible = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    devices = [leases.MeasuringDevice(f"stand-in-{number}", "cpu") for number in visible]
    leases.candidates = lambda device: devices


def on_hold() -> bool:
    try:
        return HOLD.read_text() in ("", os.environ.get("SLURM_JOB_ID"))
    except FileNotFoundError:
        return False


def waiting(original: Callable[..., Any]) -> Callable[..., Any]:
    begun = 0

    def generate(*arguments: Any, **named: Any) -> Any:
        nonlocal begun
        begun += 1
        while begun > PASSES and on_hold():
            time.sleep(0.1)
        return original(*arguments, **named)

    return generate


def ledger(sessions: Any) -> None:
    sessions.open_session = recorded("build", sessions.open_session)
    sessions.Session.generate = waiting(recorded("generate", sessions.Session.generate))


if LEDGER:
    change_imports({"mfuscope.worker.leases": stand_ins, "mfuscope.measure.session": ledger})
