"""Template files become the setting, or are refused in a sentence."""

from __future__ import annotations

import pytest

from dreamartist_ext.engine.errors import FileError, SettingError
from dreamartist_ext.files import templates


def test_a_template_file_becomes_the_setting(tmp_path):
    path = tmp_path / "style.txt"
    path.write_bytes(b"\xef\xbb\xbfa painting of [name]\r\n\r\n  art by [name], [filewords] \n")
    assert templates.read_templates(path) == "a painting of [name]|art by [name], [filewords]"


@pytest.mark.parametrize("blank", "\x0b \x0c \x1c \x1d \x1e \x85 \u2028 \u2029 \u3000 \xa0".split(" "))
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_ends_as_in_an_editor(tmp_path, blank, end):
    path = tmp_path / "style.txt"
    path.write_bytes(f"[name],{blank}red{end}[name]".encode())
    assert templates.read_templates(path) == "[name], red|[name]"


@pytest.mark.parametrize(
    ("content", "kind", "sentence"),
    [
        (None, FileError, "could not be read"),
        (b"", SettingError, "at least one prompt"),
        (b"a photo of [name]\npicture\n", SettingError, "must contain"),
        (b"a [name]|b [name]", SettingError, "separates templates"),
        ("a [name]".encode("utf-16"), FileError, "not plain text"),
        (b"a [name]\0b", FileError, "control characters"),
        ("a [name]\nb [name]".encode("utf-16-le"), FileError, "control characters"),
        (b"[name]\n\x1b[31m[name]", FileError, "control characters"),
        (b"[name]\n" * 20_000, FileError, "longer than 100 kB"),
    ],
)
def test_a_template_file_is_refused_in_a_sentence(tmp_path, content, kind, sentence):
    path = tmp_path / "subject.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind, match=sentence) as refused:
        templates.read_templates(path)
    assert str(tmp_path) not in str(refused.value)


def test_settings_may_name_template_files(tmp_path):
    (tmp_path / "subject.txt").write_text("a photo of [name]\n[name]\n")
    values = {"template": "subject.txt", "negative_template": "[name]", "steps": 3}
    read = {"template": "a photo of [name]|[name]", "negative_template": "[name]", "steps": 3}
    assert templates.with_template_files(values, tmp_path) == read
    assert templates.with_template_files(values | {"template": str(tmp_path / "subject.txt")}) == read
    assert templates.with_template_files({"steps": 3}, tmp_path) == {"steps": 3}
    assert templates.with_template_files({"template": "[name].txt"}, tmp_path) == {"template": "[name].txt"}


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/secret.txt", "sub/secret.txt"])
def test_template_files_are_looked_up_in_their_folder_alone(tmp_path, name):
    folder = tmp_path / "templates"
    (folder / "sub").mkdir(parents=True)
    for path in (tmp_path / "secret.txt", folder / "sub" / "secret.txt"):
        path.write_text("[name]")
    with pytest.raises(SettingError, match="template must be the name of a file in"):
        templates.with_template_files({"template": name}, folder)


def test_a_bad_line_names_its_file(tmp_path):
    (tmp_path / "none.txt").write_text("picture")
    with pytest.raises(SettingError, match=r'file none.txt must contain \[name\], got "picture"'):
        templates.with_template_files({"negative_template": "none.txt"}, tmp_path)
