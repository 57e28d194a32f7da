"""Transforms that are data: they compile to a projection, applied while rows are decoded."""
