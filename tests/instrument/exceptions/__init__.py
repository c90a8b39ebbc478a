"""Tests of the translation of old-form exceptions into new ones."""
