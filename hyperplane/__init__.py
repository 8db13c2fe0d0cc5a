"""Hyperplane: AWS PrivateLink and its packet engine, rebuilt on Linux network namespaces.

Read `dataplane/stages.py` first: the eight stages one packet passes.
"""

__version__ = "0.1.0"
