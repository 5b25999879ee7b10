"""How numbers of claims are written."""

from scaledrelu.reports.claims.decision import Interval, Verdict
from scaledrelu.reports.claims.findings import COSINE, Said
from scaledrelu.reports.claims.words import number_text


def test_a_small_cosine_keeps_its_sign():
    small = Said(Verdict.SUPPORTED, interval=Interval(-0.0003, -0.0004, -0.0002), unit=COSINE)
    assert number_text(small) == "-0.0003 in cosine [-0.0004, -0.0002]"
    large = Said(Verdict.SUPPORTED, interval=Interval(0.111, 0.06, 0.164), unit=COSINE)
    assert number_text(large) == "+0.11 in cosine [+0.06, +0.16]"
