"""The native kernel. Only penstock itself uses it: names and meanings change with the version."""

VERSION: str
