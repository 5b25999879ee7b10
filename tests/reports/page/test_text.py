"""The text of our reports as HTML."""

from __future__ import annotations

import pytest

from scaledrelu.reports.page.html import Html, joined, tag
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.text import text_block, text_line

RUN = "deit-0123456789ab"


@pytest.fixture
def links(tmp_path):
    record = tmp_path / "runs" / RUN / "result.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    return Links(tmp_path / "mini", tmp_path, frozenset({"table1"}))


def test_text_is_escaped_and_html_is_not():
    assert tag("p", "a < b & c", tag("b", '"d"'), title='e"f') == (
        '<p title="e&quot;f">a &lt; b &amp; c<b>&quot;d&quot;</b></p>'
    )
    assert joined(["<", Html("<br>")], ", ") == "&lt;, <br>"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("1 < 2 & **so**", "1 &lt; 2 &amp; <strong>so</strong>"),
        ("`a<b` +/- 3", "<code>a&lt;b</code>\u00a0\u00b1\u00a03"),
        ("one<br>two<p>", "one<br>two&lt;p&gt;"),
        ("[Table 1](table1.md), [Table 9](table9.md)", '<a href="#table1">Table 1</a>, Table 9'),
        (f"`{RUN}` ok", f'<a href="../runs/{RUN}/result.json"><code>{RUN}</code></a> ok'),
        ("deit-ba9876543210 gone", "<code>deit-ba9876543210</code> gone"),
    ],
)
def test_a_line_keeps_its_code_bold_and_links_and_nothing_else(links, text, html):
    assert text_line(text, links) == html


def test_blocks_are_paragraphs_lists_quotes_and_headings(links):
    text = "## Head\n\none\ntwo\n\n> take\n> care\n\n- a\n  - b\n- c"
    assert text_block(text, links) == (
        '<h3>Head</h3><p>one two</p><p class="warning">take care</p>'
        "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"
    )


def test_a_table_scrolls_in_its_own_box_and_its_headers_say_what_they_head(links):
    html = text_block("| a | b \\| c |\n| --- | --- |\n| 1 | <2> |", links)
    assert html == (
        '<div class="scroll" role="region" aria-label="Table of a, b | c" tabindex="0">'
        '<table class="small"><thead><tr><th scope="col">a</th><th scope="col">b | c</th></tr>'
        '</thead><tbody><tr><th scope="row">1</th><td class="short">&lt;2&gt;</td></tr></tbody>'
        "</table></div>"
    )
