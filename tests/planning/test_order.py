"""The order in which runs are measured."""

import subprocess
import sys
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from mfuscope.core.runs import RunKey
from mfuscope.planning.order import measuring_order, priorities


def runs(variants: int, pages: int, repeats: int) -> list[RunKey]:
    return [
        RunKey(f"v{variant}", f"p{page}", repeat)
        for variant in range(variants)
        for page in range(pages)
        for repeat in range(repeats)
    ]


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 4), st.text())
def test_blocks_hold_every_page_of_every_variant_once(
    variants: int, pages: int, repeats: int, seed: str
) -> None:
    asked = runs(variants, pages, repeats)
    ordered = measuring_order(asked, seed)
    assert sorted(ordered) == sorted(asked)
    assert [run.repeat for run in ordered] == sorted(run.repeat for run in asked)
    for _, block in groupby(ordered, key=lambda run: run.repeat):
        turns = [variant for variant, _ in groupby(block, key=lambda run: run.variant)]
        assert len(turns) == variants, "a worker is left once per repeat"
    assert measuring_order(asked[::-1], seed) == ordered


def test_the_order_is_shuffled_by_the_seed() -> None:
    asked = runs(3, 5, 3)
    orders = {tuple(measuring_order(asked, str(seed))) for seed in range(20)}
    assert len(orders) == 20
    firsts = {order[0] for order in orders}
    assert len({run.image for run in firsts}) > 2
    assert len({run.variant for run in firsts}) > 1
    one = measuring_order(asked, "a")
    pages = [[run.image for run in one[start : start + 5]] for start in range(0, len(one), 5)]
    assert len(set(map(tuple, pages))) > 1, "each block is shuffled on its own"


def test_every_process_of_a_call_has_the_same_order() -> None:
    code = (
        "from mfuscope.core.runs import RunKey\n"
        "from mfuscope.planning.order import measuring_order\n"
        "runs = [RunKey('v', str(n), 0) for n in range(9)]\n"
        "print([run.image for run in measuring_order(runs, 'seed')])"
    )
    command = [sys.executable, "-c", code]
    assert len({subprocess.check_output(command) for _ in range(2)}) == 1


def test_what_is_measured_first_has_the_highest_priority() -> None:
    asked = runs(2, 3, 2)
    found = priorities(asked, "seed")
    ordered = measuring_order(asked, "seed")
    assert [found[run] for run in ordered] == list(range(12, 0, -1))
