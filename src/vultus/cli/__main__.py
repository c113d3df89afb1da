"""`python -m vultus.cli`."""

from vultus.cli.app import main

main()
