"""Renderings of a result record."""
