"""What every sink, source and store must keep: pytest classes to inherit from.

Write one subclass, give it the fixtures that its docstring names, and all the tests are yours::

    class TestMySink(SinkContract):
        @pytest.fixture
        def connect(self, tmp_path): return lambda: MySink(tmp_path / "out")

        @pytest.fixture
        def rows(self, tmp_path): return lambda: {1: "what the target holds"}
"""

from penstock.testing.contracts.sink import SinkContract
from penstock.testing.contracts.source import Remembered, SourceContract
from penstock.testing.contracts.store import StoreContract

__all__ = ["Remembered", "SinkContract", "SourceContract", "StoreContract"]
