"""README.md shows the published claims and nothing else changes in it."""

import shutil

import pytest

from scaledrelu.errors import TableError
from scaledrelu.reports.claims.cautions import cautions_text
from scaledrelu.reports.claims.limits import changed
from scaledrelu.reports.claims.readme import END, START, readme_section, write_readme
from scaledrelu.reports.claims.records import read_claims
from tests.helpers.documents import README, ROOT

PUBLISHED = ROOT / "results" / "published" / "mini" / "claims.csv"


@pytest.fixture
def root(tmp_path):
    """A repository with a README and published claims."""
    folder = tmp_path / "results" / "published" / "mini"
    folder.mkdir(parents=True)
    shutil.copy(PUBLISHED, folder)
    (tmp_path / "README.md").write_text(f"# Before\n\n{START}\nold\n{END}\nbehind\n")
    return tmp_path


def test_the_readme_of_the_repository_has_the_published_claims():
    between = README.read_text().partition(START)[2].partition(END)[0]
    assert between.strip() == readme_section(read_claims(PUBLISHED), "mini")


def test_only_what_stands_between_the_markers_is_written(root):
    path = write_readme(root / "results", root, "mini")
    text = path.read_text()
    assert text.startswith(f"# Before\n\n{START}\n\nOf ")
    assert text.endswith(f"\n\n{END}\nbehind\n")
    assert "old" not in text
    assert write_readme(root / "results", root, "mini").read_text() == text


def test_every_main_claim_has_a_line_with_both_verdicts(root):
    claims = read_claims(PUBLISHED)
    text = readme_section(claims, "mini")
    for one in claims:
        lines = [line for line in text.splitlines() if line.startswith(f"| {one.says} |")]
        assert len(lines) == one.is_headline
        for line in lines:
            assert f"| {one.verdict}" in line
            assert line.endswith(f"| {one.papers_verdict} |")


def test_the_readme_says_what_comes_by_chance_and_what_hangs_on_the_limit_for_crashes(root):
    claims = read_claims(PUBLISHED)
    below = readme_section(claims, "mini").rpartition("\n\n")[2]
    able = [one for one in claims if one.can_be_decided]
    parts = [sum(not part.is_given for part in one.parts) for one in able]
    assert max(parts) > 5
    chance = sum(1 - 0.975**count + 0.025**count for count in parts)
    assert f"about {chance:.0f} of {len(able)} claims would be decided by chance alone" in below
    numbers = [len(changed(claims, ratio)) for ratio in (0.85, 0.95, 0.98)]
    assert "0.85, 0.95 or 0.98 times, {}, {} or {} verdicts would change.".format(*numbers) in below


def test_the_page_says_what_verdicts_share():
    claims = read_claims(PUBLISHED)
    able = [one for one in claims if one.can_be_decided]
    name = "patchify 1e-3 AdamW crashes"
    with_it = [one for one in able if name in [part.text for part in one.parts]]
    assert cautions_text(claims)[0] == (
        f'{len(able)} claims are not {len(able)} independent questions: "{name}" alone is a '
        f"part of {len(with_it)} of them."
    )


def test_results_elsewhere_leave_the_readme_alone(root, tmp_path):
    before = (root / "README.md").read_bytes()
    assert write_readme(tmp_path / "other", root, "mini") is None
    assert write_readme(root / "results", root, "small") is None
    assert (root / "README.md").read_bytes() == before


def test_a_readme_without_the_markers_is_one_line(root):
    (root / "README.md").write_text("# Before\n")
    with pytest.raises(TableError, match="has no lines"):
        write_readme(root / "results", root, "mini")


def test_a_file_that_holds_no_claims_is_one_line(root):
    (root / "results" / "published" / "mini" / "claims.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match="not a list of claims of this version"):
        write_readme(root / "results", root, "mini")
