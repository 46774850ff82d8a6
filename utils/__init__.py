"""Leaves: errors, files, command lines, devices. Imports nothing of the project."""
