"""The tests of the documentation can fail."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.docs.pages import blocks
from tests.docs.running import Story
from tests.support.postgres import fetch


def tell(tmp_path: Path, dsn: str, text: str) -> Story:
    story = Story(Path("page.md"), tmp_path, dsn)
    for block in blocks(dedent(text)):
        story.run(block)
    return story


def test_blocks_share_names_files_and_database(tmp_path: Path, database: str) -> None:
    story = tell(
        tmp_path,
        database,
        """
        ```sql
        CREATE TABLE t (id int)
        ```
        ```python title="shop/mail.py"
        answer = 42
        ```
        ```python
        import asyncio
        x = (await asyncio.sleep(0, result=41)) + 1
        ```
        ```console
        $ echo one && \\
          echo two
        one
        …o
        $ cat shop/mail.py
        ```
        ```text
        not ( python
        ```
        """,
    )
    assert story.names["x"] == 42
    assert (tmp_path / "shop/mail.py").read_text() == "answer = 42\n"
    assert fetch(database, "SELECT count(*) FROM t") == [(0,)]


def test_an_endless_block_ends_after_its_lines(tmp_path: Path, database: str) -> None:
    tell(
        tmp_path,
        database,
        """
        <!-- test
        sql = "CREATE TABLE t (id int)"
        meanwhile = "INSERT INTO t VALUES (1)"
        python = "count = 0"
        lines = 3
        -->
        ```python
        while True:
            count += 1
            print(count)
        ```
        """,
    )


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("```python\n1 / 0\n```\n", ZeroDivisionError, "by zero"),
        ('```python title="a.py"\n1 +\n```\n', SyntaxError, "invalid"),
        ("```console\n$ exit 3\n```\n", AssertionError, "exit 3"),
        ("```console\n$ echo a\nb\n```\n", AssertionError, "echo a"),
        ("<!-- test\nlines = 2\n-->\n```python\nprint()\n```\n", AssertionError, "before"),
        ("<!-- test\nlines = 2\n-->\ntext\n```python\n```\n", ValueError, "without its block"),
        ("<!-- test\nlines = 2\n-->\n", ValueError, "without its block"),
        ("<!-- test\nline = 2\n-->\n```python\n```\n", ValueError, "unknown"),
    ],
)
def test_what_is_wrong_fails(
    tmp_path: Path, database: str, text: str, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        tell(tmp_path, database, text)


def test_a_traceback_names_the_line_of_the_page(tmp_path: Path, database: str) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        tell(tmp_path, database, "\n\n```python\nx = 1\n1 / 0\n```\n")
    assert caught.traceback[-1].lineno == 4  # counted from 0


def test_a_block_may_say_why_it_does_not_run(tmp_path: Path, database: str) -> None:
    tell(tmp_path, database, '<!-- test\nnot_run = "because"\n-->\n```python\n1 / 0\n```\n')
