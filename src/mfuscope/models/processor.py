"""A generic model's own processor, for pages alone: without its video part.

The video processors of transformers need torchvision, and they have no PIL twin as the image
processors have. Pages are no videos, so nothing of them runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mfuscope.core.errors import UserError
from mfuscope.core.text import reason
from mfuscope.models.packages import lacks_package, missing_package


def load_processor(folder: Path, name: str) -> Any:
    """The processor of a model folder, as transformers makes it of its files.

    Args:
        name: the model as the user named it, for messages.

    Raises:
        UserError: it needs a package that is not installed, cannot be made of the folder's files,
            or takes no images.
    """
    # Imports of seconds, which models of the known families do not need.
    from transformers import AutoProcessor
    from transformers.processing_utils import ProcessorMixin

    try:
        with _without_videos():
            # The PIL image processors do not need torchvision.
            processor = AutoProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, backend="pil"
            )
    except (ImportError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        if lacks_package(error):
            raise missing_package(f"the processor of {name!r}", error) from error
        raise UserError(
            f"model: cannot load the processor of {name!r} ({reason(error)})",
            "name a model whose folder holds its processor and tokenizer",
        ) from error
    if not isinstance(processor, ProcessorMixin) or not hasattr(processor, "image_processor"):
        raise UserError(
            f"model: {name!r} has no processor that takes images and text "
            f"({type(processor).__name__})",
            "name a model whose processor_config.json or preprocessor_config.json names one",
        )
    return processor


@contextmanager
def offline() -> Iterator[None]:
    """In the body, files of the hub come from its cache alone; that of Pix2Struct's font does."""
    with patch("huggingface_hub.constants.HF_HUB_OFFLINE", True):
        yield


@contextmanager
def _without_videos() -> Iterator[None]:
    """Processors made in the body get settings in place of a video processor.

    Some read values of it, most of them the same that their image processor has.
    """
    from transformers import AutoImageProcessor
    from transformers.models.auto.video_processing_auto import AutoVideoProcessor
    from transformers.processing_utils import ProcessorMixin
    from transformers.video_processing_utils import VideoProcessorMixin

    check = ProcessorMixin.check_argument_for_proper_class

    def checked(processor: Any, argument: str, value: object) -> Any:
        # Without torchvision the check itself fails.
        if isinstance(value, VideoProcessorMixin):
            return VideoProcessorMixin
        return check(processor, argument, value)

    def settings(folder: Path, **options: Any) -> Any:
        image_processor = AutoImageProcessor.from_pretrained(folder, **options)
        nothing = dict.fromkeys(VideoProcessorMixin.valid_kwargs.__annotations__)
        return VideoProcessorMixin(**nothing | image_processor.to_dict())

    # transformers offers no way to leave a part of a processor out.
    with (
        patch.object(AutoVideoProcessor, "from_pretrained", settings),
        patch.object(ProcessorMixin, "check_argument_for_proper_class", checked),
    ):
        yield
