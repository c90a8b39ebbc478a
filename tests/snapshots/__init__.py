"""Tests of `caesura.snapshots`: what is saved of a guest, as bytes."""
