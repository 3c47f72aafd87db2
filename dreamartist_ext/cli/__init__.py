"""The command line: a file for each command, one place for progress and Ctrl-C. Imports every other room."""
