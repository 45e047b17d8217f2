"""Tests of the server of the embedded backend, over TCP and without the SDK."""
