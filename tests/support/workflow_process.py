"""A stand-in for the workflow's process: owns workers, and runs each job that it reads from stdin.

python workflow_process.py KEEP_ALIVE      the workflow; a job per line, as JSON
python workflow_process.py --job JOB       a job, as a script of the workflow does it
"""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.worker import client, ending
from mfuscope.worker.jobs import calibrate, measure_run
from mfuscope.worker.runtime import Limits, Owner
from mfuscope.workflow.call import Call
from mfuscope.workflow.joblog import job_log

MODELS = Path(__file__).parents[2] / "config" / "models"
SETTINGS = {
    "batch_size": 1,
    "cache": "dynamic",
    "ignore_eos": True,
    "max_new_tokens": 3,
    "no_repeat_ngram_size": 0,
    "resolution": "tiny",
    "timed_passes": 1,
    "warmup": 1,
    "profiler": {
        "decode_steps": None,
        "record_shapes": False,
        "profile_memory": False,
        "with_stack": False,
    },
}


def run_job(job: dict[str, Any]) -> None:
    inherited = Call.inherited()
    assert inherited is not None
    usual = inherited.limits
    # Limits of this job alone: others may take as long as the machine is slow.
    run_timeout = job.get("run_timeout", usual.run_timeout)
    limits = Limits(usual.keep_alive, run_timeout, job.get("start_timeout", usual.start_timeout))
    replace(inherited, limits=limits).hand_on()
    client._GREETING_S = job.get("greeting", client._GREETING_S)
    with job_log(job["log"]) as call:
        if "resolution" in job:
            calibrate(
                call.runtime,
                Path(job["run"]),
                settings=job["model"],
                bundled_models=MODELS,
                key=CalibrationKey("baseline", job["resolution"]),
                size=None,
            )
        else:
            measure_run(
                call.runtime,
                Path(job["page"]),
                page_sha256=job["page_sha256"],
                max_megapixels=call.max_image_megapixels,
                run=Path(job["run"]),
                trace=Path(job["trace"]),
                settings=SETTINGS | {"model": job["model"]} | job.get("settings", {}),
                bundled_models=MODELS,
                key=RunKey("baseline", "page.png", 0),
                call=call.id,
            )


def own_workers(keep_alive: float) -> None:
    call = Call(
        id="20260102T030400Z-0a1b2c",
        settings={},
        device="cpu",
        owner=str(Owner.of(os.getpid())),
        limits=Limits(keep_alive, run_timeout=600, start_timeout=600),
        runtime_dir=os.environ["MFUSCOPE_RUNTIME_DIR"],
        max_image_megapixels=150,
        started=time.time(),
    )
    call.hand_on()
    ending._END_S = 1.0  # a stopped worker costs a test no more than this
    jobs: Queue[subprocess.Popen[bytes] | None] = Queue()

    def report() -> None:
        while (job := jobs.get()) is not None:
            print(job.wait() & 0xFF, job.pid, flush=True)

    reporting = threading.Thread(target=report)
    reporting.start()
    for line in sys.stdin:
        jobs.put(subprocess.Popen([sys.executable, __file__, "--job", line]))
    jobs.put(None)
    reporting.join()
    ending.end_workers(call.runtime)


if __name__ == "__main__":
    if sys.argv[1] == "--job":
        run_job(json.loads(sys.argv[2]))
    else:
        own_workers(float(sys.argv[1]))
