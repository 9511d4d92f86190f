"""`python -m toril` is the `toril` command."""

from toril.cli.main import main

raise SystemExit(main())
