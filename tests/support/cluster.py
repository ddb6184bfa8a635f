"""A Slurm cluster of one node on this machine, while a test needs it.

Every daemon runs in the foreground with files of its own in one folder: a Slurm that the machine
may already have is not touched.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd")
COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
# Devices that exist everywhere and that nobody minds being opened, in place of two GPUs.
STAND_INS = ("/dev/zero", "/dev/full")
# The profile that users get, on a cluster without an accounting database, with less patience.
SUBMITTING = [
    *("--workflow-profile", "profiles/slurm"),
    *("--slurm-status-command", "squeue"),
    *("--seconds-between-status-checks", "1", "--slurm-init-seconds-before-status-checks", "1"),
    *("--latency-wait", "10"),
]

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=3600
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 Gres=gpu:any:{number} State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
GRES = "NodeName={host} Name=gpu Type=any File={file}\n"


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """For the processes that are to use it."""
        commands = str(self.folder / "bin")
        return {"PATH": os.pathsep.join([commands, os.environ["PATH"], "/usr/sbin"])}

    def ask(self, *command: str) -> str:
        """What a Slurm command prints."""
        return subprocess.run(
            command,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout


@contextmanager
def cluster(folder: Path, gpus: Sequence[str] = STAND_INS) -> Iterator[Cluster]:
    """Start a cluster, and end it.

    Args:
        gpus: the device files of the node's GPUs.

    Raises:
        FileNotFoundError: a daemon is not installed.
    """
    folder.mkdir(mode=0o755, parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    _wrap_commands(folder)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    names = {"host": socket.gethostname().partition(".")[0], "folder": str(folder)}
    ports = {"controller": str(_free_port()), "node": str(_free_port())}
    (folder / "slurm.conf").write_text(CONF.format(**names, **ports, number=len(gpus)))
    # Nothing above needs control groups. Version 2's plugin would ask for a systemd all the same.
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    (folder / "gres.conf").write_text("".join(GRES.format(**names, file=file) for file in gpus))
    made = Cluster(folder)
    munged = ["--foreground", f"--socket={folder}/munge.socket", f"--key-file={key}", "--force"]
    munged += [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")]
    with ExitStack() as stack:
        stack.enter_context(_daemon(made, "munged", munged))
        _wait(lambda: (folder / "munge.socket").exists(), made)
        stack.enter_context(_daemon(made, "slurmctld", ["-D"]))
        stack.enter_context(_daemon(made, "slurmd", ["-D", "-N", names["host"]]))
        _wait(lambda: "idle" in _state(made), made)
        yield made


def _wrap_commands(folder: Path) -> None:
    """Slurm's commands, each with this cluster's SLURM_CONF: the executor takes it from its jobs.

    What is submitted lacks one variable of the user's, as it may on a cluster.
    """
    (folder / "bin").mkdir()
    for name in (
        "sbatch",
        "srun",
        "squeue",
        "scancel",
        "scontrol",
        "sinfo",
        "sacct",
        "slurmctld",
        "slurmd",
    ):
        path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        if path is None:
            raise FileNotFoundError(f"{name} is not installed (Debian: slurm-wlm, munge)")
        wrapper = folder / "bin" / name
        unset = "unset DSOCR_MAX_NEW_TOKENS\n" if name == "sbatch" else ""
        command = f'SLURM_CONF={folder}/slurm.conf exec {path} "$@"\n'
        wrapper.write_text(f"#!/bin/sh\n{unset}{command}")
        wrapper.chmod(0o755)


def _state(made: Cluster) -> str:
    try:
        return made.ask("sinfo", "--noheader", "--format=%t")
    except subprocess.CalledProcessError:
        return ""


@contextmanager
def _daemon(made: Cluster, name: str, arguments: list[str]) -> Iterator[None]:
    with (made.folder / f"{name}.out").open("wb") as output:
        process = subprocess.Popen(
            [name, *arguments],
            env=os.environ | made.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(happened: Callable[[], object], made: Cluster) -> None:
    end = time.monotonic() + 60
    while not happened():
        if time.monotonic() > end:
            logs = [
                path.read_text(errors="replace")[-2000:] for path in made.folder.glob("*.[ol]*")
            ]
            raise TimeoutError("the cluster did not start:\n" + "\n".join(logs))
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
