"""Several GPUs on one host: as many measurements at the same time, each device's one by one."""

import itertools
import os
from pathlib import Path

import pytest
from checkouts import FIRST, SECOND, SETTINGS, make_checkout
from ledger import deeds
from processes import SUPPORT


@pytest.mark.slow
def test_two_devices_measure_side_by_side(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    checkout.configure(**SETTINGS | {"device": "cpu", "repeats": 2})
    checkout.add_page(FIRST)
    checkout.add_page(SECOND)
    written = tmp_path / "ledger"
    said = checkout.run(
        "results/metrics.csv",
        *("--cores", "2", "--resources", "gpu=2", "--set-threads", "profile=1", "calibrate=1"),
        PYTHONPATH=os.pathsep.join(
            [str(SUPPORT / "standins"), str(SUPPORT), str(checkout.root / "src")]
        ),
        MFUSCOPE_TEST_LEDGER=str(written),
        CUDA_VISIBLE_DEVICES="0,1",
    )
    assert "4 runs to measure" in said
    assert len(checkout.table("metrics.csv")) == 4
    found = deeds(written)
    one, other = ([deed for deed in found if deed.device == f"stand-in-{n}"] for n in (0, 1))
    assert len(one) + len(other) == len(found)
    for of_device in (one, other):
        assert [deed.what for deed in of_device].count("build") == 1
        assert len({deed.worker for deed in of_device}) == 1
        ordered = sorted(of_device, key=lambda deed: deed.started)
        assert all(a.ended <= b.started for a, b in itertools.pairwise(ordered))
    assert any(a.started < b.ended and b.started < a.ended for a in one for b in other)
