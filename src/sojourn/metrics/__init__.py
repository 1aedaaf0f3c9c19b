"""Rollups come in; growth metrics go out."""
