"""Processes that file modes hold for: root's, too, once they gave up what exempts them."""

import os
import subprocess
import sys

_EXEMPTIONS = "-dac_override,-dac_read_search"
# Before a command: has root obey the modes of files, as everybody else does.
OBEYING: tuple[str, ...] = ()
if os.geteuid() == 0:
    OBEYING = ("setpriv", f"--bounding-set={_EXEMPTIONS}", f"--inh-caps={_EXEMPTIONS}")


def run_obeying(code: str, *arguments: str) -> str:
    """Run Python code in a process that may open only what its files' modes allow; its output."""
    command = [*OBEYING, sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
