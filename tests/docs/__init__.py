"""Tests of the documentation: its examples run, and what it shows is what comes out."""
