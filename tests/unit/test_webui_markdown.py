"""What a model's text may become in a page: words and structure, nothing that acts or asks."""

import re

import pytest

from webui.markdown import render

HARMLESS_TAG = re.compile(
    r"</?(p|br|a|em|strong|code|pre|ul|ol|li|h[1-6]|blockquote|hr|table|t[rdh]|thead|tbody|s|del)\b"
)


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "<iframe src='https://evil.example'></iframe>",
        "<style>@import 'https://evil.example'</style>",
        "<svg onload=alert(1)>",
        "<base href=https://evil.example>",
        "![x](https://evil.example/x.png)",
        "![x](data:image/png;base64,AAAA)",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java&#x73;cript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](vbscript:x)",
        "[x](file:///etc/passwd)",
        "[x](//evil.example)",
        "[x](/v1/sessions)",
        "<javascript:alert(1)>",
        "<a href='https://evil.example' onclick=alert(1)>x</a>",
        "[x]: javascript:alert(1)\n\n[x]",
        "```html\n<script>alert(1)</script>\n```",
        '[x](https://a.example "\\" onmouseover=alert(1)")',
        "<!-- <script> -->",
        "<p style='background:url(https://evil.example)'>x</p>",
    ],
)
def test_nothing_that_acts_survives(text: str) -> None:
    html = render(text)

    tags = re.findall(r"<[^>]*>", html)
    assert all(HARMLESS_TAG.match(tag) for tag in tags), html
    attributes = " ".join(re.findall(r'([a-z-]+)="', " ".join(tags)))
    assert set(attributes.split()) <= {"href", "title", "target", "rel", "start"}
    assert all(href.startswith(("http://", "https://", "mailto:")) for href in re.findall(r'href="([^"]*)"', html))


def test_links_lead_out_without_telling_where_from() -> None:
    assert render("[x](https://a.example/b?c=d)") == (
        '<p><a href="https://a.example/b?c=d" target="_blank" rel="noopener noreferrer nofollow">x</a></p>\n'
    )


def test_structure_is_kept() -> None:
    html = render("# Title\n\n1. one\n2. *two*\n\n> quote\n\n|a|b|\n|-|-|\n|1|2|\n\n~~gone~~ `code`\nnext line")

    for part in (
        "<h1>",
        "<ol>",
        "<em>two</em>",
        "<blockquote>",
        "<td>2</td>",
        "<s>gone</s>",
        "<code>code</code>",
        "<br>",
    ):
        assert part in html


def test_an_image_leaves_only_its_description() -> None:
    assert render("see ![the <b>plan](https://evil.example/x.png)!") == "<p>see the &lt;b&gt;plan!</p>\n"


def test_a_text_longer_than_any_answer_stays_plain_text() -> None:
    assert render("<b>" * 30_000).startswith("<pre>&lt;b&gt;")
