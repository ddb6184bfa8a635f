"""A stand-in for the workflow's process: owns workers, and runs each job that it reads from stdin.

python workflow_process.py KEEP_ALIVE      the workflow; a job per line, as JSON
python workflow_process.py --job JOB       a job, as a script of the workflow would do it
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue
from typing import Any

from checkpoints import MODELS

from mfuscope.pages.images import file_sha256
from mfuscope.worker import client
from mfuscope.worker.ending import end_workers
from mfuscope.worker.jobs import calibrate, measure_run
from mfuscope.worker.runtime import Limits, adopt_jobs
from mfuscope.workflow.joblog import job_log

SETTINGS = {
    "ignore_eos": True,
    "max_new_tokens": 3,
    "resolution": "tiny",
    "warmup": 1,
    "profiler": {
        "decode_steps": None,
        "record_shapes": False,
        "profile_memory": False,
        "with_stack": False,
    },
}


def run_job(job: dict[str, Any]) -> None:
    # Limits of this job alone: others may take as long as the machine is slow.
    os.environ["MFUSCOPE_RUN_TIMEOUT"] = job.get("run_timeout", "600")
    os.environ["MFUSCOPE_START_TIMEOUT"] = job.get("start_timeout", "600")
    client._GREETING_S = job.get("greeting", 60)
    with job_log(job["log"]):
        if "resolution" in job:
            calibrate(
                Path(job["run"]),
                settings=job["model"],
                bundled_models=MODELS,
                variant="baseline",
                resolution=job["resolution"],
            )
        else:
            measure_run(
                Path(job["page"]),
                page_sha256=file_sha256(Path(job["page"])),
                run=Path(job["run"]),
                trace=Path(job["trace"]),
                settings=SETTINGS | {"model": job["model"]} | job.get("settings", {}),
                bundled_models=MODELS,
                variant="baseline",
                image="page.png",
                repeat=0,
            )


def own_workers(keep_alive: float) -> None:
    adopt_jobs(Limits(keep_alive, run_timeout=600, start_timeout=600), share=False)
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
    end_workers()


if __name__ == "__main__":
    if sys.argv[1] == "--job":
        run_job(json.loads(sys.argv[2]))
    else:
        own_workers(float(sys.argv[1]))
