"""The pipeline file: what it says is read, what is wrong with it is named."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config import PipelineConfig, json_schema, load, parse
from penstock.errors import ConfigError

CANARY = "canary-S3cr3t"
ENVIRON = {"DATABASE_URL": f"postgresql://shop:{CANARY}@db/shop", "EMPTY": ""}
GOOD = """\
name = "orders"

[source]
type = "postgres"
dsn = "${DATABASE_URL}"
tables = ["public.orders", "public.order_*"]
snapshot = "initial"

[[sinks]]
type = "memory"

[[sinks]]
type = "memory"
name = "second"
"""


def read(text: str, environ: Mapping[str, str] = ENVIRON) -> PipelineConfig:
    return parse(text, origin="orders.toml", environ=environ)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.exit_code == 2
    assert CANARY not in str(caught.value)
    return caught.value.message.splitlines()


def problem(text: str) -> str:
    (only,) = problems(text)
    return only


def test_a_good_file() -> None:
    config = read(GOOD)
    assert config.name == "orders"
    assert config.source.model_dump()["tables"] == ("public.orders", "public.order_*")
    assert [sink.name for sink in config.sinks] == [None, "second"]
    assert config.transforms == ()
    assert config.store is None


def test_no_secret_shows_in_a_repr() -> None:
    config = read('store = "postgresql://a:${PW}@h/d"\n' + GOOD, {**ENVIRON, "PW": CANARY})
    assert config.store is not None
    assert CANARY in config.store.get_secret_value()
    assert CANARY not in repr(config) + str(config)


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("${DATABASE_URL}", ENVIRON["DATABASE_URL"]),
        ("${MISSING:-postgresql://x}", "postgresql://x"),
        ("${EMPTY:-postgresql://x}", "postgresql://x"),
        ("${DATABASE_URL:-other}", ENVIRON["DATABASE_URL"]),
        ("pa$$word$${x}", "pa$word${x}"),
        ("a${EMPTY:-}b", "ab"),
        ("100$", "100$"),
    ],
)
def test_references(written: str, line: str) -> None:
    config = read(GOOD.replace("${DATABASE_URL}", written))
    assert config.source.model_dump()["dsn"].get_secret_value() == line


def test_what_a_reference_brings_is_not_expanded_again() -> None:
    config = read(GOOD, {"DATABASE_URL": "p$$ss${HOME}"})
    assert config.source.model_dump()["dsn"].get_secret_value() == "p$$ss${HOME}"


def test_a_file_reference(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "dsn"
    secret.write_text("postgresql://x\n")
    secret.chmod(0o600)
    text = GOOD.replace("${DATABASE_URL}", f"${{file:{secret}}}")
    with caplog.at_level(logging.WARNING, "penstock"):
        assert read(text).source.model_dump()["dsn"].get_secret_value() == "postgresql://x"
        assert not caplog.records
        secret.chmod(0o644)
        read(text)
    assert "everybody may read" in caplog.text


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "dsn"
    secret.write_text("postgresql://x")
    secret.chmod(0o606)
    text = problem(GOOD.replace("${DATABASE_URL}", f"${{file:{secret}}}"))
    assert text == f"orders.toml:5: source.dsn: everybody may write to {secret}: chmod o-w {secret}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "${DATABASE_URL}",
            "${DATABASE_ULR}",
            "orders.toml:5: source.dsn: the environment variable DATABASE_ULR is not set: "
            "export it, or write ${DATABASE_ULR:-default}",
        ),
        (
            "${DATABASE_URL}",
            "${EMPTY}",
            "orders.toml:5: source.dsn: the environment variable EMPTY is empty: export it, or "
            "write ${EMPTY:-default}",
        ),
        (
            "${DATABASE_URL}",
            "${file:/does/not/exist}",
            "orders.toml:5: source.dsn: the file '/does/not/exist' cannot be read: "
            "No such file or directory",
        ),
        (
            "${DATABASE_URL}",
            "${DATABASE_URL",
            "orders.toml:5: source.dsn: '${' has no closing '}'; write $${ for a literal one",
        ),
        (
            "${DATABASE_URL}",
            "${a b}",
            "orders.toml:5: source.dsn: ${a b} is no reference: write ${VAR}, ${VAR:-default} or "
            "${file:/path}, or $$ for a dollar sign",
        ),
        (
            '"initial"',
            '"inital"',
            "orders.toml:7: source.snapshot: 'inital' is not one of initial, never, always, only",
        ),
        (
            'snapshot = "initial"\n',
            "",
            "orders.toml: source.snapshot: is required in a file: one of initial, never, always "
            "or only",
        ),
        (
            "snapshot",
            'sanpshot = "never"\nsnapshot',
            "orders.toml:7: source.sanpshot: unknown key; did you mean 'snapshot'?",
        ),
        (
            "[source]",
            "[surce]\n[source]",
            "orders.toml:3: surce: unknown key; did you mean 'source'?",
        ),
        ('dsn = "${DATABASE_URL}"\n', "", "orders.toml: source.dsn: is required"),
        (
            'tables = ["public.orders", "public.order_*"]',
            "tables = 5",
            "orders.toml:6: source.tables: 5 is not a list",
        ),
        (
            '"public.order_*"',
            "false",
            "orders.toml: source.tables[1]: false is not a string",
        ),
        (
            '"postgres"',
            '"postgers"',
            "orders.toml:4: source.type: there is no source 'postgers'; did you mean 'postgres'?",
        ),
        (
            'name = "second"',
            'format = "chnage"\nname = "second"',
            "orders.toml:14: sinks[1].format: there is no format 'chnage'; did you mean 'change'?",
        ),
        (
            'name = "second"',
            'name = "second"\nformat = { type = "debezium", unwrap = { add_field = ["op"] } }',
            "orders.toml: sinks[1].format.unwrap.add_field: unknown key; did you mean "
            "'add_fields'?",
        ),
        (
            'name = "second"',
            "",
            "orders.toml: sinks[1].name: 'memory' is the name of sinks[0] already: give this one "
            "its own",
        ),
        (
            'name = "orders"',
            'name = "Orders"',
            "orders.toml:1: name: 'Orders' is not 1 to 54 of the characters a-z, 0-9 and _",
        ),
        ('name = "orders"', "", "orders.toml: name: is required: a name such as 'orders'"),
        (
            'name = "orders"',
            'name = "orders"\nstore = 7',
            "orders.toml:2: store: must be a table: [store]",
        ),
        (
            'name = "orders"',
            'name = "orders"\ntransforms = 7',
            "orders.toml:2: transforms: must be written [[transforms]], with two brackets",
        ),
    ],
)
def test_one_problem(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    assert problem(GOOD.replace(old, new)) == expected


def test_all_problems_are_told_at_once() -> None:
    text = GOOD.replace('"initial"', '"inital"').replace("second", "memory")
    found = problems(text.replace("name =", "nmae =", 1))
    assert [line.split(": ")[1] for line in found] == [
        "nmae",
        "name",
        "source.snapshot",
        "sinks[1].name",
    ]


def test_a_file_without_sinks() -> None:
    text = GOOD[: GOOD.index("[[sinks]]")]
    assert problem(text) == "orders.toml: sinks: a pipeline needs at least one sink"


def test_a_value_behind_a_reference_is_never_shown() -> None:
    text = GOOD.replace('"initial"', '"${PW}"')
    with pytest.raises(ConfigError) as caught:
        read(text, {**ENVIRON, "PW": CANARY})
    assert "'${PW}' is not one of" in caught.value.message
    assert CANARY not in str(caught.value)


def test_invalid_toml_names_line_and_column() -> None:
    assert "(at line 5, column" in problem(GOOD.replace('dsn = "', "dsn = "))


def test_stores() -> None:
    def store(text: str) -> str | None:
        found = read(text + "\n" + GOOD if "[" not in text else GOOD + text).store
        return found.get_secret_value() if found is not None else None

    assert store('store = "state.db"') == "state.db"
    assert store('[store]\ntype = "sqlite"\npath = "state.db"') == "state.db"
    assert store('[store]\ntype = "sql"\nurl = "${DATABASE_URL}"') == ENVIRON["DATABASE_URL"]


def test_a_store_section_with_a_typo() -> None:
    text = GOOD + '[store]\ntype = "sqlite"\npth = "state.db"\n'
    assert problems(text) == [
        "orders.toml: store.path: is required",
        "orders.toml:17: store.pth: unknown key; did you mean 'path'?",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "none.toml")


def test_the_example_of_the_documentation() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "cli.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert [sink.type for sink in read(example).sinks] == ["jsonl", "sql"]


def test_the_schema_names_every_component() -> None:
    schema = json_schema()
    assert schema["required"] == ["name", "source", "sinks"]
    definitions = schema["$defs"]
    assert definitions["source.postgres"]["required"] == ["type", "snapshot", "dsn"]
    assert definitions["source.postgres"]["additionalProperties"] is False
    assert definitions["sink.memory"]["properties"]["type"] == {"const": "memory"}
    assert {"store.sqlite", "store.sql"} <= definitions.keys()


VALUES = st.sampled_from(
    ["5", "-1.5", "true", '""', '"x"', '"${A}"', "[]", "[1]", "{}", "{ a = 1 }", "2026-01-01"]
)
KEYS = ["name", "store", "source", "sinks", "type", "dsn", "tables", "snapshot", "path", "format"]


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from(KEYS), VALUES, st.booleans()), max_size=3
    )
)
def test_no_file_brings_anything_but_a_config_error(
    edits: list[tuple[int, str, str, bool]],
) -> None:
    lines = GOOD.splitlines()
    for place, key, value, insert in edits:
        at = place % len(lines)
        lines[at : at + (not insert)] = [f"{key} = {value}"]
    trouble = ""
    try:
        read("\n".join(lines))
    except ConfigError as error:
        trouble = str(error)
    assert all(line.startswith("orders.toml") for line in trouble.splitlines())
    assert CANARY not in trouble
