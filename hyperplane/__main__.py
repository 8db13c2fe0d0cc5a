"""`python -m hyperplane` is the command `hyperplane`."""

from hyperplane.cli.main import main

main()
