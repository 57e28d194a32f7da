"""Names mean components: ours, and those of other packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock import registry
from penstock.config import parse
from penstock.errors import ConfigError

PACKAGE = """
from typing import Literal
from penstock.component import SinkComponent

class Folder(SinkComponent):
    type: Literal["folder"] = "folder"
    path: str
"""
FILE = """
name = "files"
[source]
type = "postgres"
dsn = "postgresql://localhost/shop"
snapshot = "never"
[[sinks]]
type = "folder"
path = "rows"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is installed and brings a sink."""
    (tmp_path / "penstock_folder.py").write_text(PACKAGE)
    information = tmp_path / "penstock_folder-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: penstock-folder\n")
    (information / "entry_points.txt").write_text(
        "[penstock.sinks]\nfolder = penstock_folder:Folder\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("folder")
def test_a_pipeline_file_may_use_another_packages_sink() -> None:
    assert "folder" in registry.names("sink")
    (sink,) = parse(FILE).sinks
    assert (sink.type, getattr(sink, "path", None)) == ("folder", "rows")


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        registry.component("sink", "jsonn")
    assert "'jsonl'" in caught.value.hint


def test_a_format_that_is_wrong_shows_no_secret() -> None:
    secret = {"basic.auth.user.info": "user:secret"}
    for wrong in ({"setings": secret}, {"settings": "secret"}, {"settings": secret, "url": 5}):
        options = {"url": "http://r", **wrong}
        with pytest.raises(ConfigError, match="schema_registry") as caught:
            registry.format_of({"type": "debezium", "schema_registry": options}, "p")
        assert "secret" not in str(caught.value)
