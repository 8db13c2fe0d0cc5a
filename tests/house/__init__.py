"""The rules of the house as functions: each takes the source files and names every offence.

`tests/test_house.py` holds the project to them, and holds each of them to a tree that breaks it.
"""
