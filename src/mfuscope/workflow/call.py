"""One call of the workflow: what it resolved, handed to all of its jobs wherever they run.

The call resolves settings once. Its jobs find the result in one environment variable, which the
Snakefile declares (``envvars``), so that jobs on other machines have it too. Every job imports this
module: it stays light.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from mfuscope.core.errors import UserError
from mfuscope.worker.runtime import Limits, Owner, Runtime

#: The environment variable that holds the call.
VARIABLE: Final = "MFUSCOPE_SETTINGS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a call resolved.

    Attributes:
        id: names the call in the records of its runs.
        settings: those that differ from their defaults (`Settings.overrides`).
        device: what `settings.device` resolved to.
        owner: the process that owns the workers (``str(Owner)``).
        limits: of workers.
        runtime_dir: the folder that the user's runtime folder is in.
        max_image_megapixels: the setting.
        started: Unix time in seconds.
        partial: this call reports what there is after another call had failures.
    """

    id: str
    settings: Mapping[str, Any]
    device: str
    owner: str
    limits: Limits
    runtime_dir: str
    max_image_megapixels: float
    started: float
    partial: bool = False

    @classmethod
    def inherited(cls) -> "Call | None":
        """The call that this process belongs to, None where it is a call of its own.

        Raises:
            UserError: the environment variable holds something else.
        """
        text = os.environ.get(VARIABLE)
        if not text:
            return None
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise UserError(
                f"{VARIABLE} (from the environment) is not what a call hands to its jobs",
                "unset it",
            ) from error

    def hand_on(self) -> None:
        """Let the jobs that this process starts inherit the call."""
        os.environ[VARIABLE] = self.encoded()

    def encoded(self) -> str:
        """The call as JSON."""
        return msgspec.json.encode(self).decode()

    @property
    def runtime(self) -> Runtime:
        """Where this call's workers are, and how long they live."""
        return Runtime(Owner.parse(self.owner), self.limits, Path(self.runtime_dir))
