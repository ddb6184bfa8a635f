"""A job's side: lease a device, find or start the worker of a model there, send it requests."""

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from mfuscope.core.errors import WorkerError
from mfuscope.hardware.threads import measuring_threads
from mfuscope.worker.ending import end_idle, kill, process_behind, wait_for_end
from mfuscope.worker.leases import Lease, MeasuringDevice, candidates, lease
from mfuscope.worker.protocol import (
    GREETING,
    Answer,
    Opened,
    Reply,
    Work,
    receive,
    send,
)
from mfuscope.worker.runtime import Runtime, connect

_PAUSE_S = 0.01  # between two attempts to reach a worker that is starting
_GREETING_S = 60.0  # an idle worker greets at once
# Snakemake and others limit the threads of jobs with these; a worker inherits no such limit.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class Link:
    """A leased device and the worker on it."""

    def __init__(self, runtime: Runtime, held: Lease, model: dict[str, Any]) -> None:
        self._runtime = runtime
        self._limits = runtime.limits
        self._lease = held
        self.model = model | {"device": held.device.torch_name}
        self.folder = _folder(runtime, model, held.device)

    @property
    def device(self) -> MeasuringDevice:
        """The leased device."""
        return self._lease.device

    @property
    def lease_file(self) -> int:
        """The open lock: who has it open holds the device."""
        return self._lease.file

    def ask(self, request: Work) -> bytes:
        """The record that a request asks for, as JSON.

        Raises:
            WorkerError: the worker reports an error, died, or took too long; what it printed is in
                the job's log.
        """
        reply = self._answer(request)
        if reply.insufficient_memory and (ended := self._end_others()):
            print(reply.error, file=sys.stderr)
            print(
                f"ended {ended} idle workers of other variants; trying again ...", file=sys.stderr
            )
            reply = self._answer(request)
        if reply.error:
            raise WorkerError(reply.error)
        return bytes(reply.record)

    def _answer(self, request: Work) -> Reply:
        answer: Opened | Reply | None = None
        with (
            self._connection() as connection,
            suppress(ConnectionError, ProcessLookupError),
            process_behind(connection) as worker,
        ):
            connection.settimeout(self._limits.start_timeout)
            try:
                send(connection, request, self._lease.file, sys.stderr.fileno())
                answer, _ = receive(connection, Answer)
                if isinstance(answer, Opened):
                    connection.settimeout(self._limits.run_timeout)
                    answer, _ = receive(connection, Answer)
            except TimeoutError:
                kill(worker)
                opened = isinstance(answer, Opened)
                raise WorkerError(self._too_long() if opened else self._not_ready()) from None
            if isinstance(answer, Reply) and answer.insufficient_memory and answer.last:
                wait_for_end(worker)  # the next attempt needs its memory
        if not isinstance(answer, Reply):
            raise WorkerError(
                "the model worker ended in the middle of this run: it was killed, crashed, or the "
                "system ran out of memory (see the kernel's log)"
            )
        return answer

    def _end_others(self) -> int:
        """End this workflow's other workers on the device; returns how many there were.

        All of them are idle, since this job holds the device.
        """
        return end_idle(folder for folder in self._on_device() if folder != self.folder)

    def end_workers(self) -> None:
        """End this workflow's workers on the device, all of which are idle while it is held."""
        end_idle(self._on_device())

    def _on_device(self) -> Iterator[Path]:
        """Where this workflow's workers on the device listen."""
        return self._runtime.owner_folder.glob(f"{_digest(self._lease.device.id)}-*")

    def _connection(self) -> socket.socket:
        process = None
        end = time.monotonic() + self._limits.start_timeout
        while True:
            connection = connect(self.folder)
            if connection is not None:
                connection.settimeout(_GREETING_S)
                try:
                    if connection.recv(1) == GREETING:
                        connection.settimeout(None)
                        return connection
                except ConnectionError:
                    pass  # it was about to end: start the next one
                except TimeoutError:
                    with process_behind(connection) as worker:
                        kill(worker)
                connection.close()
            if process is None:
                process = self._start()
            elif process.poll() is not None:
                raise WorkerError(f"the model worker did not start (status {process.returncode})")
            elif time.monotonic() > end:
                process.kill()
                process.wait()
                raise WorkerError(self._not_ready())
            time.sleep(_PAUSE_S)

    def _start(self) -> subprocess.Popen[bytes]:
        threads = dict.fromkeys(_THREAD_VARIABLES, str(measuring_threads()))
        # In a session of its own, Ctrl-C does not reach it; it ends with the workflow.
        return subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "mfuscope.worker.server"),
                *(str(self.folder), str(self._runtime.owner), str(self._limits.keep_alive)),
            ],
            env=os.environ | threads | self._lease.device.environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _too_long(self) -> str:
        return (
            f"the run took longer than `worker.run_timeout` ({self._limits.run_timeout:g} s), and "
            "its model worker was ended: it hung or was stopped, or this page takes so long here. "
            "Remedy: run the same command again, with a higher `worker.run_timeout` where pages "
            "take so long."
        )

    def _not_ready(self) -> str:
        return (
            f"the model was not ready after `worker.start_timeout` ({self._limits.start_timeout:g} "
            "s), and its worker was ended: it hung or was stopped, or loading takes so long here. "
            "Remedy: run the same command again, with a higher `worker.start_timeout` where models "
            "take so long."
        )


@contextmanager
def leased_worker(runtime: Runtime, model: dict[str, Any]) -> Iterator[Link]:
    """Lease a device for a model, preferably one that has a worker with this model.

    Args:
        model: see `planning.parameters.model_parameters`.
    """

    def has_worker(device: MeasuringDevice) -> bool:
        return _folder(runtime, model, device).exists()

    with lease(runtime, candidates(model["device"]), prefer=has_worker) as held:
        yield Link(runtime, held, model)


def _folder(runtime: Runtime, model: dict[str, Any], device: MeasuringDevice) -> Path:
    """Where the worker of a model on a device listens."""
    return runtime.owner_folder / f"{_digest(device.id)}-{_digest(model)}"


def _digest(content: object) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:12]
