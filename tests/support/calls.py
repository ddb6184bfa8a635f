"""Calls of the workflow, as their jobs inherit them."""

from builders import CALL

from mfuscope.worker.runtime import Limits, Owner
from mfuscope.workflow.call import Call


def encoded_call(owner: int) -> str:
    """A call that a process owns, for the environment of a job."""
    made = Call(
        id=CALL,
        settings={},
        device="cpu",
        owner=str(Owner.of(owner)),
        limits=Limits(0, 60, 60),
        runtime_dir="/nowhere",
        max_image_megapixels=1,
        started=0,
    )
    return made.encoded()
