"""Drawings of a lab: one plain value, and a writer for each format."""
