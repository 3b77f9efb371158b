"""Answers as HTML: markdown in, a small and safe set of tags out.

A model's answer is untrusted text: it may repeat whatever a message or a web page told it to write. Raw HTML is shown
as text, images are dropped (a remote image would tell its host that somebody reads), links can only lead to the web or
to a mail address, and what markdown-it makes of the rest goes through nh3's allow-list once more.
"""

from functools import lru_cache
from html import escape

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

_LONGEST = 65_536
_SCHEMES = {"http", "https", "mailto"}
_TAGS = {
    *("h1", "h2", "h3", "h4", "h5", "h6", "p", "blockquote", "pre", "hr", "br"),
    *("ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"),
    *("a", "code", "del", "em", "s", "strong"),
}


def render(text: str) -> str:
    """The HTML of one answer; longer texts than any screen wants stay plain."""
    if len(text) > _LONGEST:
        return f"<pre>{escape(text)}</pre>"
    return _render(text)


@lru_cache(maxsize=256)
def _render(text: str) -> str:
    return nh3.clean(
        _parser().render(text),
        tags=_TAGS,
        clean_content_tags=set(),
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.validateLink = _leads_out  # type: ignore[method-assign]
    parser.add_render_rule("image", _without_image)
    return parser


def _leads_out(url: str) -> bool:
    return url.strip().lower().startswith(("http://", "https://", "mailto:"))


def _without_image(
    _renderer: RendererHTML, tokens: list[Token], index: int, _options: object, _env: StateInline
) -> str:
    return escape(tokens[index].content)
