"""Tests of `caesura.recording`: what is noted of suspensions, by any number of processes."""
