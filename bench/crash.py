"""Does penstock lose, invent, reorder or alter anything when it is killed?

Runs episodes of the crash test until so many lives have ended by SIGKILL; may plant every bug of
tests/crash/mutants.py and count the episodes until it is caught. Prints the figures and writes
them into docs/explanation/crash-test.md.

    python bench/crash.py --kills 250 --mutants --write
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

sys.path.append(str(Path(__file__).resolve().parent.parent))

from tests.crash.checker import percentile
from tests.crash.harness import SETTINGS, Episode, Figures, Violated
from tests.crash.mutants import MUTANTS
from tests.crash.plans import plan_for, plan_of
from tools.servers import postgres, versions

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "explanation" / "crash-test.md"
KILLS_OF_EPISODE: Final = 25
SEEDS: Final = 20
"""Episodes in which a planted bug has to be caught."""


def run_kills(wanted: int, first_seed: int) -> Figures:
    """Episodes on each server version in turn. Raises Violated."""
    total = Figures()
    seed = first_seed
    while total.killed < wanted:
        version = versions()[seed % len(versions())]
        with postgres(version, settings=SETTINGS) as server:
            figures = Episode(server, seed, plan_of(seed, KILLS_OF_EPISODE)).run()
        total.add(figures)
        print(
            f"seed {seed}, PostgreSQL {version}: {figures.killed} kills,"
            f" {figures.transactions} transactions, {figures.changes} changes,"
            f" {figures.seconds:.0f} s",
            flush=True,
        )
        seed += 1
    return total


def run_mutants() -> Iterator[tuple[str, int, str]]:
    """Each planted bug, the episodes it took, and the invariant that told."""
    with postgres("16", settings=SETTINGS) as server:
        for mutant in MUTANTS:
            for seed in range(1, SEEDS + 1):
                try:
                    Episode(server, 1000 + seed, plan_for(mutant)).run()
                except Violated as violated:
                    told = violated.first.split(":")[0]
                    violated.discard()
                    print(f"{mutant}: caught in episode {seed}, {told}", flush=True)
                    yield mutant, seed, told
                    break
            else:
                raise AssertionError(f"{mutant} survived {SEEDS} episodes")


def table_of(figures: Figures) -> list[str]:
    """The figures as a Markdown table."""
    kills = ", ".join(f"{name} {count}" for name, count in sorted(figures.kills.items()))
    faults = ", ".join(
        f"{name} {count}" for name, count in sorted(figures.faults.items()) if name != "network"
    )
    rows = [
        ("lives ended by SIGKILL", f"{figures.killed}"),
        ("… where", kills),
        ("other faults", faults),
        ("transactions committed by the writers", f"{figures.committed:,}"),
        ("transactions rolled back", f"{figures.aborted:,}"),
        ("transactions seen in the log's stream", f"{figures.transactions:,}"),
        ("changes delivered (each counted once)", f"{figures.changes:,}"),
        ("**transactions lost, phantoms, inversions, torn states**", "**0**"),
        ("95 % upper bound of a loss per crash (3/n)", f"{3 / figures.killed:.2%}"),
        ("changes sent again after a crash, p50 / p99 / max", _spread(figures.repeats, "{:,.0f}")),
        ("start until the first saved progress, p50 / p99 / max", _spread(figures.recovery)),
        ("end of another fault until progress, p50 / p99 / max", _spread(figures.liveness)),
        ("time", f"{figures.seconds / 60:.0f} min"),
    ]
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]


def _spread(values: Sequence[float], form: str = "{:.2f} s") -> str:
    shares = (0.5, 0.99, 1.0)
    return " / ".join(form.format(percentile(values, share)) for share in shares)


def write(block: str, lines: Sequence[str]) -> None:
    """Replace a block of the page."""
    begin, end = f"<!-- {block} -->", f"<!-- end of {block} -->"
    text = PAGE.read_text()
    new = "\n".join([begin, "", *lines, "", end])
    PAGE.write_text(re.sub(f"{begin}.*?{end}", lambda _: new, text, flags=re.DOTALL))


def main() -> int:
    """Run, print, and write where asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1, help="of the first episode")
    parser.add_argument("--mutants", action="store_true", help="plant the bugs as well")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    try:
        figures = run_kills(arguments.kills, arguments.seed)
    except Violated as violated:
        print(violated)
        return 1
    machine = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" PostgreSQL {', '.join(versions())}, seeds from {arguments.seed}"
    )
    lines = [f"`python bench/crash.py --kills {arguments.kills} --mutants --write`: {machine}.", ""]
    lines += table_of(figures)
    print("\n".join(lines))
    if arguments.write:
        write("figures", lines)
    if arguments.mutants:
        caught = list(run_mutants())
        rows = [f"| {name.replace('_', ' ')} | {seed} | {told} |" for name, seed, told in caught]
        seeds = [seed for _, seed, _ in caught]
        lines = [
            f"{len(caught)} of {len(MUTANTS)} caught; episodes until then: median"
            f" {percentile(seeds, 0.5):.0f}, at most {max(seeds)}.",
            "",
            "| planted bug | episodes | told by |",
            "|---|---|---|",
            *rows,
        ]
        print("\n".join(lines))
        if arguments.write:
            write("mutants", lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
