"""Two thousand embeddings: what the page asks of the server takes less than a second."""

from __future__ import annotations

import time

from dreamartist_ext.webui.concepts.tab import ConceptActions
from dreamartist_ext.webui.training.jobs import Desk

from ..test_api import SmallWorkplace
from .test_shelf import put

FILES = 2000


def test_the_page_of_two_thousand_files_takes_less_than_a_second(tmp_path):
    place = SmallWorkplace(tmp_path)
    contents = [path.read_bytes() for path in put(place.embeddings, "c")]
    for number in range(FILES // 2 - 1):
        for half, content in zip(("", "-neg"), contents, strict=True):
            (place.embeddings / f"c{number:04}{half}.pt").write_bytes(content)
    seconds = []
    page = ConceptActions(Desk(place))
    for _ in range(3):
        began = time.process_time()
        html = page.look("", "Learned concepts", "Newest first")
        seconds.append(time.process_time() - began)
        assert html.count("dreamartist-card") >= 48
    print(f"{FILES} files: {', '.join(f'{1000 * each:.0f} ms' for each in seconds)} of CPU, the first one cold")
    assert max(seconds) < 1
