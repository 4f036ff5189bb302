# The feox command: see src/cli.
