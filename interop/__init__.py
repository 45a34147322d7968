"""Clients that nobody here wrote, against this project's server: `make interop` and `make conformance`."""
