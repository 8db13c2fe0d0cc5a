"""One packet in, one verdict out. Start with `stages.py`."""
