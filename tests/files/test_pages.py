"""Pages: what is put into one is text."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError
from jinja2.exceptions import TemplateNotFound

from dreamartist_ext.files.pages import TEMPLATES, page


def test_every_template_is_a_file_of_the_package():
    """setuptools packs `assets/**/*`; the WebUI has the folder as it is."""
    names = [path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.j2")]
    assert "report/page.html.j2" in names
    with pytest.raises(TemplateNotFound):
        page("report/nothing.html.j2")


def test_a_template_does_not_leave_out_what_it_was_not_given():
    with pytest.raises(UndefinedError, match="title"):
        page("report/page.html.j2")
