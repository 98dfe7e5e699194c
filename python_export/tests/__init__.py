"""Tests of python_export: `.venv/bin/python -m pytest python_export`."""
