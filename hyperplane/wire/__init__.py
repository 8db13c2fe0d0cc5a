"""Bytes to headers and back. Nothing here knows flows, addresses' owners or configuration."""
