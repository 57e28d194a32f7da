"""Both kernels side by side: these tests are there wherever the native one is chosen."""

from __future__ import annotations

from penstock.kernel import kernel

collect_ignore_glob = [] if kernel() == "native" else ["test_*.py"]
