"""Faults that tests cause in model workers.

The folder MFUSCOPE_TEST_FAULTS decides what happens, by files in it:

- ``build``: building the model takes as many seconds longer as the file says (stand-in model).
- ``raise``: the next run raises an error that nobody expects; the file goes.
- ``refuse``: the next run raises a `UserError`; the file goes (stand-in model).
- ``hang``: a run sleeps; a file ``hanging`` appears with the worker's process number.
- ``short``: the next run runs out of memory; the file goes.
- ``crowded``: the model does not fit while the process runs whose number the file holds (stand-in
  model).
- ``jump``: in a process that starts with it, every other reading of the time of day is a day off
  (real model).
- ``set-clock``: within the next traced pass, the file ``clock`` appears; this file goes (real
  model).
"""

import os
import time
from pathlib import Path

FAULTS = Path(os.environ.get("MFUSCOPE_TEST_FAULTS", "/nowhere"))


def asked_for(fault: str) -> bool:
    """Whether a fault is to happen now; once."""
    if not (FAULTS / fault).exists():
        return False
    (FAULTS / fault).unlink()
    return True


def hang_if_asked() -> None:
    if (FAULTS / "hang").exists():
        (FAULTS / "hanging").write_text(str(os.getpid()))
        time.sleep(600)
