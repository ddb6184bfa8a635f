"""The process that Nsight Compute counts; it ends with the job that started it.

ncu ... python -m mfuscope.worker.counted JOB.json OWNER
"""

import os
import sys
from pathlib import Path

import msgspec

from mfuscope.measure.counters import CountedJob
from mfuscope.worker.runtime import Owner
from mfuscope.worker.watch import end_with


def program(job: Path) -> list[str]:
    """The command of such a process, for a `CountedJob` in a file, which ends with this one."""
    owner = str(Owner.of(os.getpid()))
    return [sys.executable, "-P", "-m", "mfuscope.worker.counted", str(job), owner]


if __name__ == "__main__":
    end_with(Owner.parse(sys.argv[2]))
    from mfuscope.measure.counted_pass import count_pass  # imports torch

    count_pass(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=CountedJob))
    os._exit(0)  # at once: torch and CUDA take long to shut down
