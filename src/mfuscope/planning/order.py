"""In which order runs are measured: shuffled, so that no page or repeat has a time of its own."""

from collections import defaultdict
from collections.abc import Sequence
from random import Random

from mfuscope.core.runs import RunKey


def measuring_order(runs: Sequence[RunKey], seed: str) -> list[RunKey]:
    """Runs in randomised blocks, one per repeat: a host that drifts changes every page alike.

    Within a repeat, the variants follow one another in a shuffled order, and the pages of a variant
    likewise: workers that do not fit side by side are built again for each repeat, not for each
    run.

    Args:
        seed: the same seed gives the same order: the id of the call.
    """
    random = Random(seed)  # noqa: S311 - no secret depends on it
    blocks: dict[int, dict[str, list[RunKey]]] = defaultdict(lambda: defaultdict(list))
    for run in sorted(runs):
        blocks[run.repeat][run.variant].append(run)
    ordered = []
    for _, variants in sorted(blocks.items()):
        for pages in random.sample(list(variants.values()), len(variants)):
            ordered += random.sample(pages, len(pages))
    return ordered


def priorities(runs: Sequence[RunKey], seed: str) -> dict[RunKey, int]:
    """Snakemake's priority of each run, from the number of runs down to 1: higher ones go first."""
    ordered = measuring_order(runs, seed)
    return {run: len(ordered) - place for place, run in enumerate(ordered)}
