"""`python -m vultus`."""

from vultus.cli.app import main

main()
