"""A real PostgreSQL server of our own: for the demo, the tests and the benches.

Nothing of a pipeline knows this package; only the command line imports it.
"""

from __future__ import annotations
