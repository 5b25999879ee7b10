"""GPU-hours of many runs: all that can be known, and no silent hole for a missing measurement."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaledrelu.cost.hours import ours
from scaledrelu.cost.whole import costs_of
from scaledrelu.errors import DataError
from tests.helpers.speeds import HOST, RECORDS, paper


def test_only_a_run_whose_images_were_counted_needs_a_measured_loader():
    known = replace(RECORDS, alone={name: RECORDS.alone[name] for name in ("reference", "device")})
    counted, unmeasured = paper(*HOST), paper("recipe=dino", *HOST)
    build = {key: value for key, value in unmeasured.data.build.items() if key != "expect"}
    uncounted = replace(unmeasured, data=replace(unmeasured.data, build=build))
    assert len(costs_of([counted, uncounted], ours(known), known)) == 1
    with pytest.raises(DataError, match="no row of one loader process of 'DINO"):
        costs_of([counted, unmeasured], ours(known), known)
